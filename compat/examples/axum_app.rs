//! A small application of axum on aqueduct: handlers await, use tokio, and hand work to coroutines.
//!
//! Watch for: `/primes/N` runs a Go-style pipeline of coroutines and channels behind an async handler; `/tokio` uses tokio's timer as
//! if the program were tokio's; the visitors are counted by one coroutine that owns the count, over a channel.
//!
//! ```sh
//! cargo run -p aqueduct-compat --example axum_app -- 127.0.0.1:8080
//! curl http://127.0.0.1:8080/primes/10
//! cargo run -p aqueduct-compat --example axum_app -- --self-test    # asks each route, and ends
//! ```

use aqueduct::channel::{Receiver, Sender, oneshot};
use aqueduct::net::TcpListener;
use aqueduct::prelude::*;
use aqueduct_compat::axum::serve;
use aqueduct_compat::hyper::{BoxError, client};
use axum::Router;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Asks the coroutine that counts for the next number.
type Visits = Sender<oneshot::Sender<u64>>;

fn app() -> Router {
    let (visits, asked) = channel::bounded::<oneshot::Sender<u64>>(0);
    go!(for (n, answer) in (1..).zip(asked.iter()) {
        // A visitor that did not wait for its number has none.
        let _ = answer.send(n);
    });
    Router::new()
        .route("/", get(visit))
        .route("/primes/{n}", get(primes))
        .route("/tokio", get(on_tokio))
        .with_state(visits)
}

async fn visit(
    State(visits): State<Visits>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> Result<String, StatusCode> {
    let gone = |_| StatusCode::SERVICE_UNAVAILABLE;
    let (answer, number) = oneshot::channel();
    visits.send_async(answer).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let number = number.await.map_err(gone)?;
    Ok(format!("visitor {number}, from {}\n", peer.ip()))
}

async fn primes(Path(n): Path<usize>) -> Result<String, StatusCode> {
    if n > 1_000 {
        return Err(StatusCode::BAD_REQUEST);
    }
    let sieve = go!(first_primes(n));
    let primes = sieve.await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(format!("{primes:?}\n"))
}

/// The sieve that Go's tour is known for: a coroutine a prime, each a filter for the next.
fn first_primes(n: usize) -> Vec<u32> {
    let (tx, mut numbers) = channel::bounded(1);
    go!((2..).try_for_each(|n| tx.send(n)));
    (0..n)
        .map(|_| {
            let prime = numbers.recv().expect("there are always more");
            numbers = without_multiples(numbers.clone(), prime);
            prime
        })
        .collect()
}

fn without_multiples(numbers: Receiver<u32>, prime: u32) -> Receiver<u32> {
    let (tx, rest) = channel::bounded(1);
    go!(numbers.iter().filter(|n| n % prime != 0).try_for_each(|n| tx.send(n)));
    rest
}

async fn on_tokio() -> Result<&'static str, StatusCode> {
    let task = tokio::spawn(async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        "a task of tokio's\n"
    });
    task.await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

fn main() -> Result<(), BoxError> {
    let argument = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    aqueduct::run(|| {
        if argument == "--self-test" {
            return self_test();
        }
        let server = serve(TcpListener::bind(&*argument)?, app());
        println!("listening on {}", server.local_addr()?);
        server.join()?;
        Ok(())
    })
}

fn self_test() -> Result<(), BoxError> {
    let server = serve(TcpListener::bind("127.0.0.1:0")?, app());
    let origin = format!("http://{}", server.local_addr()?);
    let client = client::<Empty<Bytes>>();
    let ask = |path: &str| {
        let response = client.get(format!("{origin}{path}").parse()?).wait()?;
        let text = response.into_body().collect().wait()?.to_bytes();
        print!("{path}: {}", String::from_utf8_lossy(&text));
        Ok::<_, BoxError>(text)
    };
    assert_eq!(ask("/")?, "visitor 1, from 127.0.0.1\n");
    assert_eq!(ask("/")?, "visitor 2, from 127.0.0.1\n");
    assert_eq!(ask("/primes/5")?, "[2, 3, 5, 7, 11]\n");
    assert_eq!(ask("/tokio")?, "a task of tokio's\n");
    assert_eq!(ask("/primes/1001")?, "");
    let summary = server.shutdown(Instant::now() + Duration::from_secs(10));
    assert_eq!((summary.cancelled, summary.stats.open), (0, 0));
    println!("\nself-test passed");
    Ok(())
}
