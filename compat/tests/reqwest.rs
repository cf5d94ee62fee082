//! reqwest, a client that is built on tokio, in both colours against a server of ours; and over TLS.

mod common;

use aqueduct::{Wait, go, spawn};
use aqueduct_compat::hyper::{Builder, service_go};
use aqueduct_compat::tokio::{InTokioExt, enter};
use common::{BIG, COLOURS, chain, leaks_no_descriptor, listener, serve, stop, test_path, watchdog};
use http::{Request, Response};
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;

/// Without what the environment says of proxies.
fn client() -> reqwest::ClientBuilder {
    // The choice of rustls' cryptography is the program's; a second one is refused, and the first is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let nothing = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(nothing)
}

#[test]
fn it_runs_in_both_colours() {
    let _dog = watchdog!(60);
    let runtime = common::runtime(2);
    for colour in COLOURS {
        let server = serve(colour, Builder::new());
        let url = format!("http://{}/", server.local_addr().unwrap());
        let client = client().build().unwrap();
        let coroutines: Vec<_> = (0..10)
            .map(|_| {
                let (client, url) = (client.clone(), url.clone());
                runtime.go(move || {
                    let response = client.get(url + "slow").send().in_tokio().wait().unwrap();
                    response.text().in_tokio().wait().unwrap()
                })
            })
            .collect();
        let futures: Vec<_> = (0..10)
            .map(|_| {
                let (client, url) = (client.clone(), url.clone());
                let fetch = async move { client.get(url).send().await.unwrap().text().await.unwrap() };
                runtime.spawn(fetch.in_tokio())
            })
            .collect();
        coroutines.into_iter().for_each(|task| assert_eq!(task.join().unwrap(), "slow word"));
        futures.into_iter().for_each(|task| assert_eq!(task.join().unwrap(), "word"));
        drop(client);
        stop(server);
    }
}

#[test]
fn large_bodies_go_both_ways() {
    let _dog = watchdog!(120);
    for colour in COLOURS {
        let server = serve(colour, Builder::new());
        let url = format!("http://{}/", server.local_addr().unwrap());
        let client = client().build().unwrap();
        // A stretch of Go-style code in the context.
        let (big, echoed) = enter(|| {
            let big = client.get(url.clone() + "big").send().wait().unwrap().bytes().wait().unwrap();
            let sent: Vec<u8> = (0..3 << 20).map(|i| (i / 3) as u8).collect();
            let echo = client.post(url + "echo").body(sent.clone()).send().wait().unwrap();
            (big.len(), echo.bytes().wait().unwrap() == sent)
        });
        assert_eq!((big, echoed), (BIG, true));
        drop(client);
        stop(server);
    }
}

#[test]
fn its_own_timeout_fires_and_a_request_is_cancelled_by_dropping() {
    let _dog = watchdog!(60);
    let runtime = common::runtime(1);
    let server = serve(COLOURS[1], Builder::new());
    let url = format!("http://{}/stuck", server.local_addr().unwrap());
    let client = client().build().unwrap();
    // With a timeout, `send` makes a timer of tokio's on the spot: so it is called in the context.
    let error = enter(|| client.get(&url).timeout(Duration::from_millis(20)).send().wait()).unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    // Ours, around it.
    let late = aqueduct::time::timeout(Duration::from_millis(20), client.get(&url).send().in_tokio());
    assert!(late.wait().is_err());
    // A coroutine that waits for it is cancelled.
    let waiting = runtime.go({
        let (client, url) = (client.clone(), url.clone());
        move || client.get(url).send().in_tokio().wait().map(drop)
    });
    common::until_waiting(&runtime, waiting.id());
    waiting.cancel();
    assert!(waiting.join().unwrap_err().is_cancelled());
    drop(client);
    // The server has seen the clients go.
    common::until(|| server.stats().open == 0);
    stop(server);
}

#[test]
fn faults_are_its_own_errors_and_leave_nothing() {
    let _dog = watchdog!(60);
    leaks_no_descriptor(test_path!(), || {
        let client = client().build().unwrap();
        let nobody = listener().local_addr().unwrap();
        let error = client.get(format!("http://{nobody}/")).send().in_tokio().wait().unwrap_err();
        assert!(error.is_connect() && chain(&error).contains("refused"), "{}", chain(&error));
        let garbage = listener();
        let url = format!("http://{}/", garbage.local_addr().unwrap());
        let server = go!({
            use std::io::{Read, Write};
            let (mut stream, _) = garbage.accept().unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream.write_all(b"no HTTP\r\n\r\n").unwrap();
        });
        let error = client.get(url).send().in_tokio().wait().unwrap_err();
        assert!(chain(&error).contains("invalid HTTP"), "{}", chain(&error));
        server.join().unwrap();
    });
}

/// A server's configuration for `localhost`, and the client's that trusts it.
fn self_signed() -> (rustls::ServerConfig, rustls::ClientConfig) {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = signed.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, client)
}

#[test]
fn https_in_both_colours() {
    let _dog = watchdog!(60);
    let (server_config, client_config) = self_signed();
    let acceptor = futures_rustls::TlsAcceptor::from(Arc::new(server_config));
    let (builder, errors) = common::Errors::builder();
    let server = builder.serve_wrapped(
        listener(),
        move |stream| acceptor.accept(stream),
        |_peer| service_go(|_: Request<Incoming>| Response::new("secret".to_string())),
    );
    let port = server.local_addr().unwrap().port();
    let url = format!("https://localhost:{port}/");
    let trusting = reqwest::Client::builder()
        .no_proxy()
        .resolve("localhost", ([127, 0, 0, 1], port).into())
        .tls_backend_preconfigured(client_config)
        .build()
        .unwrap();
    let request = trusting.get(&url).send();
    let coroutine = go!(request.in_tokio().wait().unwrap().text().in_tokio().wait().unwrap());
    assert_eq!(coroutine.join().unwrap(), "secret");
    let request = trusting.get(&url).send();
    let future = spawn(async move { request.await.unwrap().text().await.unwrap() }.in_tokio());
    assert_eq!(future.join().unwrap(), "secret");
    drop(trusting);

    // Who does not trust it gets an error, and so does the server; and who speaks no TLS.
    let wary = client().resolve("localhost", ([127, 0, 0, 1], port).into()).build().unwrap();
    let error = wary.get(&url).send().in_tokio().wait().unwrap_err();
    assert!(chain(&error).contains("certificate"), "{}", chain(&error));
    errors.until(1);
    let error = wary.get(url.replace("https", "http")).send().in_tokio().wait().unwrap_err();
    assert!(error.is_request(), "{}", chain(&error));
    assert!(errors.until(2)[1].contains("message"), "{:?}", errors.all());
    drop(wary);
    stop(server);
}
