//! The task that accepts.
#![forbid(unsafe_code)]

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Conn;
use super::connection::{Connection, Service};
use super::registry::Server;
use crate::net::{TcpListener, TcpStream};

/// Starts accepting. Returns at once.
pub(super) fn start<S, O, H>(listener: TcpListener, service: Arc<Service<O, H>>)
where
    S: Send + 'static,
    O: Fn(&mut Conn) -> io::Result<S> + Send + Sync + 'static,
    H: Fn(&mut Conn, &mut S) -> io::Result<()> + Send + Sync + 'static,
{
    let intake = Intake { server: Arc::clone(&service.server), error: None };
    drop(crate::task::spawn(accept_all(listener, service, intake)));
}

/// Tells the server when accepting is over, also when the task is cancelled with its runtime.
struct Intake {
    server: Arc<Server>,
    error: Option<io::Error>,
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.server.end_intake(self.error.take());
    }
}

// The listener is dropped before `intake`, which tells that it is gone: parameters are dropped in reverse.
async fn accept_all<S, O, H>(listener: TcpListener, service: Arc<Service<O, H>>, mut intake: Intake)
where
    S: Send + 'static,
    O: Fn(&mut Conn) -> io::Result<S> + Send + Sync + 'static,
    H: Fn(&mut Conn, &mut S) -> io::Result<()> + Send + Sync + 'static,
{
    loop {
        poll_fn(|cx| service.server.poll_room(cx)).await;
        if service.server.is_stopping() {
            break;
        }
        match listener.accept_async().await {
            Ok((stream, peer)) => start_connection(stream, peer, &service),
            Err(_) if listener.is_closed() => break,
            Err(error) => {
                intake.error = Some(error);
                break;
            }
        }
    }
    drop(listener);
    drop(intake);
}

fn start_connection<S, O, H>(stream: TcpStream, peer: SocketAddr, service: &Arc<Service<O, H>>)
where
    S: Send + 'static,
    O: Fn(&mut Conn) -> io::Result<S> + Send + Sync + 'static,
    H: Fn(&mut Conn, &mut S) -> io::Result<()> + Send + Sync + 'static,
{
    let Some(registration) = service.server.register() else { return };
    let spawned = registration.spawned();
    let connection = Connection::new(Conn::new(stream, peer, registration), Arc::clone(service));
    spawned.set(crate::task::spawn_serve(connection));
}
