//! Routers of axum on our server: handlers that await, that wait in coroutines, and that use tokio.

mod common;

use aqueduct::{Wait, go};
use aqueduct_compat::axum::serve;
use aqueduct_compat::hyper::{Builder, client};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bytes::Bytes;
use common::{listener, stop, watchdog};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(2);

#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

fn router() -> Router {
    Router::new()
        .route(
            "/peer",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }),
        )
        .route("/go/{n}", get(in_go_style))
        .route("/tokio", get(on_tokio))
        .route("/count", post(count))
        .with_state(Count::default())
}

/// The work is a coroutine's; the handler awaits it.
async fn in_go_style(Path(n): Path<u64>) -> impl IntoResponse {
    let work = go!({
        let (tx, rx) = aqueduct::channel::bounded(0);
        go!({
            aqueduct::time::sleep(MOMENT);
            tx.send(2 * n).unwrap();
        });
        rx.recv().unwrap().to_string()
    });
    work.await.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

async fn on_tokio() -> &'static str {
    tokio::time::sleep(MOMENT).await;
    tokio::spawn(async { "spawned on tokio" }).await.unwrap()
}

async fn count(State(count): State<Count>, body: Bytes) -> String {
    (count.0.fetch_add(body.len(), Ordering::Relaxed) + body.len()).to_string()
}

fn fetch(address: SocketAddr, path: &str) -> (StatusCode, String) {
    let uri = format!("http://{address}{path}").parse().unwrap();
    let response = client::<Empty<Bytes>>().get(uri).wait().unwrap();
    let status = response.status();
    let body = response.into_body().collect().wait().unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn handlers_of_every_colour_answer() {
    let _dog = watchdog!(60);
    let server = serve(listener(), router());
    let address = server.local_addr().unwrap();
    let ok = |text: &str| (StatusCode::OK, text.to_string());
    assert_eq!(fetch(address, "/peer"), ok("127.0.0.1"));
    assert_eq!(fetch(address, "/tokio"), ok("spawned on tokio"));
    assert_eq!(fetch(address, "/nowhere").0, StatusCode::NOT_FOUND);
    assert_eq!(fetch(address, "/go/what").0, StatusCode::BAD_REQUEST);
    let tasks: Vec<_> = (0..20).map(|n| go!(fetch(address, &format!("/go/{n}")))).collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.join().unwrap(), ok(&(2 * n).to_string()));
    }
    stop(server);
}

#[test]
fn state_and_bodies_arrive() {
    let _dog = watchdog!(60);
    let server = serve(listener(), router());
    let uri: http::Uri = format!("http://{}/count", server.local_addr().unwrap()).parse().unwrap();
    let client = client();
    let mut last = String::new();
    for body in ["one", "three", ""] {
        let request = Request::post(uri.clone()).body(Full::new(Bytes::from(body))).unwrap();
        let answer = client.request(request).wait().unwrap().into_body().collect().wait().unwrap();
        last = String::from_utf8(answer.to_bytes().to_vec()).unwrap();
    }
    assert_eq!(last, "8");
    drop(client);
    stop(server);
}

#[test]
fn a_panic_in_a_handler_ends_its_connection_only() {
    let _dog = watchdog!(60);
    let (builder, errors) = common::Errors::builder();
    let router = router().route("/panic", get(|| async { panic!("the handler's own") as String }));
    let server = builder.serve_axum(listener(), router);
    let address = server.local_addr().unwrap();
    let uri = format!("http://{address}/panic").parse().unwrap();
    assert!(client::<Empty<Bytes>>().get(uri).wait().is_err());
    assert!(errors.until(1)[0].contains("the handler's own"));
    assert_eq!(fetch(address, "/peer").0, StatusCode::OK);
    stop(server);
}

#[test]
fn a_service_of_tower_is_served_as_it_is() {
    let _dog = watchdog!(60);
    // A router is one; with layers of tower's around it.
    let service = tower::util::MapRequest::new(router(), |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 7))));
        request.map(Body::new)
    });
    let server = Builder::new().in_tokio().serve_tower(listener(), service);
    let address = server.local_addr().unwrap();
    assert_eq!(fetch(address, "/peer"), (StatusCode::OK, "192.0.2.1".to_string()));
    assert_eq!(fetch(address, "/tokio").1, "spawned on tokio");
    stop(server);
}
