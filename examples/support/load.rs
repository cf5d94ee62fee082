//! The load generator: many connections, some of them busy, every byte verified.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aqueduct::net::TcpStream;
use aqueduct::{Wait, go, time};
use hdrhistogram::Histogram;

/// How much of a batch is under way at once; more might fill the buffers both ways, and nobody would read.
const IN_FLIGHT_BYTES_MAX: usize = 64 * 1024;

/// How many connections are opened side by side.
const LANES: usize = 64;

/// What every run may take beyond its duration before what is still open is cut off.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) active: usize,
    pub(crate) duration: Duration,
    /// Bytes of a message.
    pub(crate) size: usize,
    /// Messages sent before the first reply is waited for.
    pub(crate) pipeline: usize,
    /// Instead of a load of some duration: so many times connect, one echo, close.
    pub(crate) cycles: Option<u64>,
    /// Close by a reset, which leaves no port in TIME_WAIT behind.
    pub(crate) reset: bool,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 8080).into(),
            connections: 100,
            active: 100,
            duration: Duration::from_secs(5),
            size: 64,
            pipeline: 1,
            cycles: None,
            reset: false,
        }
    }
}

pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    /// Replies that were wrong, and operations that failed.
    pub(crate) errors: u64,
    /// Connections that could not be made, or ended before they should.
    pub(crate) dropped: u64,
    /// The first few errors, in words.
    pub(crate) examples: Vec<String>,
    latency_ns: Histogram<u64>,
}

impl Report {
    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn latency_us(&self, quantile: f64) -> f64 {
        self.latency_ns.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

/// What the coroutines of one run share.
struct Tally {
    errors: AtomicU64,
    dropped: AtomicU64,
    examples: Mutex<Vec<String>>,
    latency_ns: Mutex<Histogram<u64>>,
}

impl Tally {
    fn note(&self, error: &io::Error) {
        let is_wrong_reply = error.kind() == io::ErrorKind::InvalidData;
        let counter = if is_wrong_reply { &self.errors } else { &self.dropped };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut examples = self.examples.lock().unwrap();
        if examples.len() < 3 {
            examples.push(error.to_string());
        }
    }

    fn record(&self, latency: Duration) {
        self.latency_ns.lock().unwrap().saturating_record(latency.as_nanos() as u64);
    }
}

impl Load {
    /// Runs the load, and tells how far it is, in percent: 0 when all connections are open and the load begins, more than 100
    /// when it has ended and they are still open.
    pub(crate) fn run(&self, progress: impl Fn(u64) + Send) -> io::Result<Report> {
        let latency_ns = Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(io::Error::other)?;
        let tally = Arc::new(Tally {
            errors: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            examples: Mutex::default(),
            latency_ns: Mutex::new(latency_ns),
        });
        let elapsed = match self.cycles {
            Some(cycles) => self.churn(cycles, &tally, progress)?,
            None => self.echo(&tally, progress)?,
        };
        let latency_ns = tally.latency_ns.lock().unwrap().clone();
        Ok(Report {
            requests: latency_ns.len(),
            elapsed,
            errors: tally.errors.load(Ordering::Relaxed),
            dropped: tally.dropped.load(Ordering::Relaxed),
            examples: tally.examples.lock().unwrap().clone(),
            latency_ns,
        })
    }

    /// Opens all connections, keeps the active ones busy, and in the end sees whether the idle ones are still
    /// there.
    fn echo(&self, tally: &Arc<Tally>, progress: impl Fn(u64)) -> io::Result<Duration> {
        let streams = Arc::new(self.connect_all(tally)?);
        let start = Instant::now();
        let end = start + self.duration;
        let watchdog = cut_off(Arc::clone(&streams), end + PATIENCE);
        progress(0);
        let busy: Vec<_> = (0..self.active.min(streams.len()))
            .map(|index| {
                let (load, streams, tally) = (self.clone(), Arc::clone(&streams), Arc::clone(tally));
                go(move || Exchange::new(&load, index, &streams[index]).repeat(end, &tally))
            })
            .collect();
        while Instant::now() < end {
            time::sleep(Duration::from_millis(50).min(end.saturating_duration_since(Instant::now())));
            let done = start.elapsed().as_secs_f64() / self.duration.as_secs_f64().max(1e-9);
            progress(((100.0 * done) as u64).clamp(1, 100));
        }
        for handler in busy {
            handler.join().map_err(io::Error::other)?.unwrap_or_else(|error| tally.note(&error));
        }
        let elapsed = start.elapsed();
        progress(101);
        for (index, stream) in streams.iter().enumerate().skip(self.active) {
            Exchange::new(self, index, stream).once().unwrap_or_else(|error| tally.note(&error));
        }
        watchdog.cancel();
        Ok(elapsed)
    }

    /// Opens the connections. Each is used once, so that the server has really taken it.
    fn connect_all(&self, tally: &Arc<Tally>) -> io::Result<Vec<TcpStream>> {
        let next = Arc::new(AtomicU64::new(0));
        let lanes: Vec<_> = (0..LANES.min(self.connections))
            .map(|_| {
                let (load, next, tally) = (self.clone(), Arc::clone(&next), Arc::clone(tally));
                go(move || {
                    let mut streams = Vec::new();
                    loop {
                        match next.fetch_add(1, Ordering::Relaxed) as usize {
                            index if index >= load.connections => return streams,
                            index => match load.connect(index) {
                                Ok(stream) => streams.push(stream),
                                Err(error) => tally.note(&error),
                            },
                        }
                    }
                })
            })
            .collect();
        let mut streams = Vec::new();
        for lane in lanes {
            streams.append(&mut lane.join().map_err(io::Error::other)?);
        }
        Ok(streams)
    }

    fn connect(&self, index: usize) -> io::Result<TcpStream> {
        let stream = connect(self.address)?;
        stream.set_nodelay(true)?;
        if self.reset {
            stream.set_linger(Some(Duration::ZERO))?;
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        Exchange::new(self, index, &stream).once()?;
        stream.set_read_timeout(None)?;
        Ok(stream)
    }

    /// Connects, echoes once and closes, again and again.
    fn churn(&self, cycles: u64, tally: &Arc<Tally>, progress: impl Fn(u64)) -> io::Result<Duration> {
        progress(0);
        let (start, done) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let lanes: Vec<_> = (0..self.active)
            .map(|_| {
                let (load, done, tally) = (self.clone(), Arc::clone(&done), Arc::clone(tally));
                go(move || {
                    loop {
                        let (cycle, begin) = (done.fetch_add(1, Ordering::Relaxed), Instant::now());
                        if cycle >= cycles {
                            return;
                        }
                        match load.connect(cycle as usize) {
                            Ok(_) => tally.record(begin.elapsed()),
                            Err(error) => tally.note(&error),
                        }
                    }
                })
            })
            .collect();
        let all = go(move || {
            for lane in lanes {
                lane.join().map_err(io::Error::other)?;
            }
            // Not when the progress is looked at next.
            io::Result::Ok(start.elapsed())
        });
        while !all.is_finished() {
            time::sleep(Duration::from_millis(20));
            progress((100 * done.load(Ordering::Relaxed) / cycles).clamp(1, 100));
        }
        let elapsed = all.join().map_err(io::Error::other)??;
        progress(101);
        Ok(elapsed)
    }
}

/// Closes what is still open at the deadline, so that no run lasts for ever.
fn cut_off(streams: Arc<Vec<TcpStream>>, deadline: Instant) -> aqueduct::JoinHandle<()> {
    go(move || {
        time::sleep(deadline.saturating_duration_since(Instant::now()));
        streams.iter().for_each(TcpStream::close);
    })
}

/// One connection's messages: what is sent, and what must come back.
struct Exchange<'a> {
    stream: &'a TcpStream,
    connection: u64,
    sequence: u64,
    size: usize,
    batch: Vec<u8>,
    // One byte longer than what it waits for: a read that does not fill it tells that the socket is drained.
    reply: Vec<u8>,
}

impl<'a> Exchange<'a> {
    fn new(load: &Load, connection: usize, stream: &'a TcpStream) -> Self {
        let batch = vec![0; load.size * load.pipeline];
        let reply = vec![0; batch.len().min(IN_FLIGHT_BYTES_MAX) + 1];
        Self { stream, connection: connection as u64, sequence: 0, size: load.size, batch, reply }
    }

    fn repeat(mut self, end: Instant, tally: &Tally) -> io::Result<()> {
        while Instant::now() < end {
            self.exchange(|latency| tally.record(latency))?;
        }
        Ok(())
    }

    fn once(mut self) -> io::Result<()> {
        self.batch.truncate(self.size);
        self.exchange(|_| ())
    }

    /// Sends a batch and verifies the replies; `record` gets the latency of each message.
    fn exchange(&mut self, mut record: impl FnMut(Duration)) -> io::Result<()> {
        for (message, sequence) in self.batch.chunks_mut(self.size).zip(self.sequence..) {
            fill(message, self.connection, sequence);
        }
        let (begin, mut verified, mut recorded) = (Instant::now(), 0, 0);
        for part in self.batch.chunks(IN_FLIGHT_BYTES_MAX) {
            let mut stream = self.stream;
            stream.write_all(part)?;
            let end = verified + part.len();
            while verified < end {
                let n = stream.read(&mut self.reply[..end - verified + 1])?;
                if n == 0 {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the server has closed the connection",
                    ));
                }
                if verified + n > end || self.reply[..n] != self.batch[verified..verified + n] {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the reply is not what was sent"));
                }
                verified += n;
                for _ in recorded..verified / self.size {
                    record(begin.elapsed());
                }
                recorded = verified / self.size;
            }
        }
        self.sequence += recorded as u64;
        Ok(())
    }
}

/// Fills a message with words that depend on the connection, the message and the place in it.
fn fill(message: &mut [u8], connection: u64, sequence: u64) {
    let seed = mix(connection << 32 ^ sequence);
    for (place, word) in message.chunks_mut(8).enumerate() {
        let value = mix(seed.wrapping_add(place as u64)).to_le_bytes();
        word.copy_from_slice(&value[..word.len()]);
    }
}

/// The finaliser of splitmix64.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

/// Connects; from other loopback addresses when the ports of the usual one have run out.
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    match TcpStream::connect(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && address.ip().is_loopback() => {
            (2..=8).find_map(|host| connect_from(Ipv4Addr::new(127, 0, 0, host), address).ok()).ok_or(error)
        }
        done => done,
    }
}

fn connect_from(source: Ipv4Addr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().wait()?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

/// Allows this process as many descriptors as the system lets it have, and returns how many.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only use the struct they are given.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return 0;
        }
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
    limit.rlim_cur
}
