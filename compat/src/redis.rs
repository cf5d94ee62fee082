//! The synchronous half of the `redis` crate over any stream that waits.
//!
//! The crate's own `Connection` opens its socket itself, and would block a worker. Its commands, pipelines and transactions are
//! written against the trait [`ConnectionLike`], and [`Connection`] is one over our sockets: everything in `redis::Commands`,
//! `redis::cmd` and `redis::pipe` works on it unchanged, and waits as the stream waits.
//!
//! For the asynchronous half (`redis::aio`: one connection shared by many tasks, and subscriptions, which the synchronous half has
//! only on its own `Connection`) see the feature `tokio`.
//!
//! # Invariants
//! - `in-step`: between calls nothing is on its way in either direction. A call that fails or unwinds half-way leaves the connection
//!   closed, so that no later call takes an answer that was meant for another.

use std::fmt;
use std::io::{self, Read, Write};
use std::mem;

use aqueduct::net::TcpStream;
use redis::{
    Cmd, ConnectionAddr, ConnectionLike, ErrorKind, IntoConnectionInfo, Parser, ProtocolVersion,
    RedisConnectionInfo, RedisError, RedisResult, Value,
};

/// A connection to a Redis server for the synchronous API of the `redis` crate.
///
/// # Blocking
/// Every command suspends the calling coroutine until its answer is there; outside the scheduler it blocks the thread. The time
/// limits are the stream's: see [`stream`](Self::stream).
///
/// # Cancel safety
/// A coroutine cancelled in a command: *may lose data*, the server may have done it or not, and the connection is closed.
///
/// # Examples
/// ```no_run
/// use aqueduct_compat::redis::Connection;
/// use redis::Commands;
///
/// let handle = aqueduct::go(|| -> redis::RedisResult<u32> {
///     let mut redis = Connection::connect("redis://127.0.0.1:6379/")?;
///     let _: () = redis.set("answer", 42)?;
///     redis.get("answer")
/// });
/// assert_eq!(handle.join().unwrap().unwrap(), 42);
/// ```
pub struct Connection<S> {
    stream: S,
    parser: Parser,
    db: i64,
    is_open: bool,
}

impl Connection<TcpStream> {
    /// Connects, signs in and selects the database, as the URL (or other parameters) say.
    ///
    /// # Errors
    /// The socket's; the server's when it refuses; [`ErrorKind::InvalidClientConfig`] for an address that is not plain TCP: make the
    /// stream yourself and use [`over`](Self::over).
    #[track_caller]
    pub fn connect(parameters: impl IntoConnectionInfo) -> RedisResult<Self> {
        let parameters = parameters.into_connection_info()?;
        let ConnectionAddr::Tcp(host, port) = parameters.addr() else {
            return Err(RedisError::from((
                ErrorKind::InvalidClientConfig,
                "only redis:// is connected to here: make the stream yourself and use `Connection::over`",
            )));
        };
        let stream = TcpStream::connect((host.as_str(), *port))?;
        // A command is one small write.
        stream.set_nodelay(true)?;
        Self::over(stream, parameters.redis_settings())
    }
}

impl<S: Read + Write> Connection<S> {
    /// Signs in over a stream that is connected, and selects the database. The stream may be TLS, or anything else that waits.
    ///
    /// # Errors
    /// The stream's; the server's when it refuses.
    #[track_caller]
    pub fn over(stream: S, settings: &RedisConnectionInfo) -> RedisResult<Self> {
        let mut connection = Self { stream, parser: Parser::new(), db: 0, is_open: true };
        connection.sign_in(settings)?;
        if settings.db() != 0 {
            redis::cmd("SELECT").arg(settings.db()).exec(&mut connection)?;
        }
        connection.db = settings.db();
        Ok(connection)
    }

    fn sign_in(&mut self, settings: &RedisConnectionInfo) -> RedisResult<()> {
        let user = settings.username();
        let hello = !matches!(settings.protocol(), ProtocolVersion::RESP2);
        match (hello, settings.password()) {
            (true, password) => {
                let mut command = redis::cmd("HELLO");
                command.arg(3);
                if let Some(password) = password {
                    command.arg("AUTH").arg(user.unwrap_or("default")).arg(password);
                }
                command.exec(self)
            }
            (false, Some(password)) => redis::cmd("AUTH").arg(user).arg(password).exec(self),
            (false, None) => Ok(()),
        }
    }

    /// The stream, to set time limits on it. Neither read nor write it.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Sends packed commands and reads `answers` answers, of which the first `skip` are only looked at for errors.
    fn request(&mut self, packed: &[u8], skip: usize, answers: usize) -> RedisResult<Vec<Value>> {
        if !mem::replace(&mut self.is_open, false) {
            let error = "an earlier command failed half-way, and closed it: connect again";
            return Err(io::Error::new(io::ErrorKind::NotConnected, error).into());
        }
        // Until the end of this call the connection is closed: `in-step`.
        self.stream.write_all(packed)?;
        self.stream.flush()?;
        let mut values = Vec::with_capacity(answers);
        let mut refusal = None;
        for index in 0..skip + answers {
            match self.answer()? {
                Value::ServerError(error) if index < skip => {
                    refusal.get_or_insert(RedisError::from(error));
                }
                _ if index < skip => {}
                value => values.push(value),
            }
        }
        self.is_open = true;
        refusal.map_or(Ok(values), Err)
    }

    /// The next answer; what the server pushes unasked is passed over, as the crate's own connection does.
    fn answer(&mut self) -> RedisResult<Value> {
        loop {
            match self.parser.parse_value(&mut self.stream)? {
                Value::Push { .. } => {}
                value => return Ok(value),
            }
        }
    }
}

impl<S: Read + Write> ConnectionLike for Connection<S> {
    fn req_packed_command(&mut self, packed: &[u8]) -> RedisResult<Value> {
        let mut values = self.request(packed, 0, 1)?;
        Ok(values.pop().expect("one answer was asked for"))
    }

    fn req_packed_commands(&mut self, packed: &[u8], offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        self.request(packed, offset, count)
    }

    fn req_command(&mut self, command: &Cmd) -> RedisResult<Value> {
        let packed = command.get_packed_command();
        if command.is_no_response() {
            return self.request(&packed, 0, 0).map(|_| Value::Nil);
        }
        self.req_packed_command(&packed)
    }

    fn get_db(&self) -> i64 {
        self.db
    }

    fn check_connection(&mut self) -> bool {
        redis::cmd("PING").query::<String>(self).is_ok()
    }

    fn is_open(&self) -> bool {
        self.is_open
    }
}

impl<S> fmt::Debug for Connection<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { db, is_open, .. } = self;
        f.debug_struct("Connection").field("db", db).field("is_open", is_open).finish_non_exhaustive()
    }
}
