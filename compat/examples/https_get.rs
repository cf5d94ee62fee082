//! Fetches a page over https with reqwest, a client built on tokio, in Go style and in async style.
//!
//! Watch for: `enter` around a stretch of Go-style code, or `.in_tokio()` behind a future, is all that reqwest needs; the rest of the
//! program knows nothing of tokio.
//!
//! ```sh
//! cargo run -p aqueduct-compat --example https_get -- https://example.org/
//! cargo run -p aqueduct-compat --example https_get -- --self-test
//! ```
//!
//! `--self-test` starts a server on loopback with a certificate that it has signed itself, fetches from that in both styles, sees
//! that a client that does not trust it refuses, and ends.

use aqueduct::net::TcpListener;
use aqueduct::prelude::*;
use aqueduct_compat::hyper::{BoxError, Builder, Server, service_go};
use aqueduct_compat::tokio::{InTokioExt, enter};
use http::{Request, Response};
use hyper::body::Incoming;
use reqwest::Client;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Go style: call by call. (`send` sets a timer of tokio's when it is called, so it is called in the context too.)
fn fetch_go(client: &Client, url: &str) -> reqwest::Result<String> {
    enter(|| client.get(url).send().wait()?.error_for_status()?.text().wait())
}

/// async: the whole of it in one wrapper.
async fn fetch_async(client: Client, url: String) -> reqwest::Result<String> {
    let fetch = async { client.get(url).send().await?.error_for_status()?.text().await };
    fetch.in_tokio().await
}

fn main() -> Result<(), BoxError> {
    let argument = std::env::args().nth(1).ok_or("say which page, or --self-test")?;
    aqueduct::run(|| {
        // One cryptography of rustls' for the program, of the two that there are.
        rustls::crypto::ring::default_provider().install_default().map_err(|_| "chosen already")?;
        if argument == "--self-test" {
            return self_test();
        }
        let client = Client::builder().timeout(Duration::from_secs(30)).build()?;
        println!("{}", fetch_async(client, argument).wait()?);
        Ok(())
    })
}

fn self_test() -> Result<(), BoxError> {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_string()])?;
    let certificate = signed.cert.der().clone();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der())?;
    let server = start(certificate.clone(), key)?;
    let address = server.local_addr()?;
    let url = format!("https://localhost:{}/", address.port());

    let trusting = client(address, [certificate])?;
    let coroutine = {
        let (client, url) = (trusting.clone(), url.clone());
        go!(fetch_go(&client, &url))
    };
    println!("Go style: {}", coroutine.join()??);
    let future = spawn(fetch_async(trusting, url.clone()));
    println!("async: {}", future.join()??);

    let wary = client(address, [])?;
    let error = fetch_go(&wary, &url).expect_err("an unknown certificate is refused");
    println!("without trust: {error:?}");
    drop(wary);
    let summary = server.shutdown(Instant::now() + Duration::from_secs(10));
    assert_eq!((summary.cancelled, summary.stats.open), (0, 0));
    println!("self-test passed");
    Ok(())
}

/// A Go-style server behind TLS.
fn start(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Result<Server, BoxError> {
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
    let acceptor = futures_rustls::TlsAcceptor::from(Arc::new(config));
    let greet = |peer: SocketAddr| {
        service_go(move |_: Request<Incoming>| Response::new(format!("hello, {}", peer.ip())))
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(Builder::new().serve_wrapped(listener, move |stream| acceptor.accept(stream), greet))
}

/// A client that trusts these certificates and none else, and finds `localhost` at the server's address.
fn client(
    server: SocketAddr,
    trusted: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Result<Client, BoxError> {
    let mut roots = RootCertStore::empty();
    trusted.into_iter().try_for_each(|certificate| roots.add(certificate))?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let builder = Client::builder().no_proxy().resolve("localhost", server);
    Ok(builder.tls_backend_preconfigured(config).timeout(Duration::from_secs(10)).build()?)
}
