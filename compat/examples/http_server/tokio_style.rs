//! The async routes on tokio, for comparison.

use crate::route_async;
use aqueduct_compat::hyper::BoxError;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// Serves until it is killed. As many workers as there are processors, as aqueduct has.
pub(crate) fn run(address: String) -> Result<(), BoxError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening on {} in style Tokio", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut http1 = http1::Builder::new();
                http1.timer(TokioTimer::new());
                let connection = http1.serve_connection(TokioIo::new(stream), service_fn(route_async));
                // Clients that leave are no concern here.
                let _ = connection.with_upgrades().await;
            });
        }
    })
}
