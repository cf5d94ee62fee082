//! tonic: its client in both colours, and services of its on our server. The service and its codec are written by hand, so that
//! no compiler of protocol buffers is needed.

mod common;

use aqueduct::{Wait, channel, go, spawn};
use aqueduct_compat::hyper::{Builder, Connector, Server};
use aqueduct_compat::tokio::InTokioExt;
use bytes::{Buf, BufMut};
use common::{chain, leaks_no_descriptor, listener, stop, test_path, watchdog};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use std::convert::Infallible;
use std::time::Duration;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tower::service_fn;

/// Messages that are text.
#[derive(Clone, Copy, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        String::from_utf8(bytes.into()).map(Some).map_err(|_| Status::invalid_argument("no UTF-8"))
    }
}

/// One word in, the same in capitals out: waits in a coroutine.
async fn upper(request: Request<String>) -> Result<Response<String>, Status> {
    let word = request.into_inner();
    if word == "fail" {
        return Err(Status::failed_precondition("as asked"));
    }
    let task = go!({
        aqueduct::time::sleep(Duration::from_millis(1));
        word.to_uppercase()
    });
    task.await.map(Response::new).map_err(|error| Status::internal(error.to_string()))
}

type Words = channel::RecvStream<Result<String, Status>>;

/// A number in, so many numbers out, from a coroutine through a channel of capacity 0.
async fn count(request: Request<String>) -> Result<Response<Words>, Status> {
    let n: u32 = request.into_inner().parse().map_err(|_| Status::invalid_argument("no number"))?;
    let (tx, rx) = channel::bounded(0);
    go!(for n in 0..n {
        if tx.send(Ok(n.to_string())).is_err() {
            return; // The client has gone.
        }
    });
    Ok(Response::new(rx.into_stream()))
}

/// What a code generator would write.
fn route(
    request: http::Request<Incoming>,
) -> BoxFuture<'static, Result<http::Response<tonic::body::Body>, Infallible>> {
    async move {
        let mut grpc = tonic::server::Grpc::new(Text);
        Ok(match request.uri().path() {
            "/words.Words/Upper" => grpc.unary(service_fn(upper), request).await,
            "/words.Words/Count" => grpc.server_streaming(service_fn(count), request).await,
            _ => Status::unimplemented("no such method").into_http(),
        })
    }
    .boxed()
}

fn serve() -> Server {
    Builder::new().in_tokio().http2_only().serve_tower(listener(), service_fn(route))
}

fn endpoint(server: &Server) -> Endpoint {
    format!("http://{}", server.local_addr().unwrap()).parse().unwrap()
}

/// What a code generator would write.
struct Client(tonic::client::Grpc<Channel>);

impl Client {
    async fn upper(&mut self, word: &str) -> Result<String, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/words.Words/Upper");
        Ok(self.0.unary(Request::new(word.to_string()), path, Text).await?.into_inner())
    }

    async fn count(&mut self, n: &str) -> Result<tonic::Streaming<String>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/words.Words/Count");
        Ok(self.0.server_streaming(Request::new(n.to_string()), path, Text).await?.into_inner())
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.0.ready().await.map_err(|error| Status::unavailable(chain(&error)))
    }
}

#[test]
fn calls_are_made_in_both_colours() {
    let _dog = watchdog!(60);
    let server = serve();
    let endpoint = endpoint(&server);
    let channel = endpoint.connect().in_tokio().wait().unwrap();
    let coroutines: Vec<_> = (0..10)
        .map(|n| {
            let mut client = Client(tonic::client::Grpc::new(channel.clone()));
            go!(client.upper(&format!("word {n}")).in_tokio().wait().unwrap())
        })
        .collect();
    let futures: Vec<_> = (0..10)
        .map(|n| {
            let mut client = Client(tonic::client::Grpc::new(channel.clone()));
            spawn(async move { client.upper(&format!("word {n}")).await.unwrap() }.in_tokio())
        })
        .collect();
    for (n, (coroutine, future)) in coroutines.into_iter().zip(futures).enumerate() {
        assert_eq!(coroutine.join().unwrap(), format!("WORD {n}"));
        assert_eq!(future.join().unwrap(), format!("WORD {n}"));
    }
    assert_eq!(server.stats().accepted, 1);
    drop(channel);
    stop(server);
}

#[test]
fn streams_are_read_in_both_colours_and_may_be_left() {
    let _dog = watchdog!(60);
    let server = serve();
    let endpoint = endpoint(&server);
    let channel = endpoint.connect().in_tokio().wait().unwrap();
    let mut client = Client(tonic::client::Grpc::new(channel));
    let expected: Vec<_> = (0..500).map(|n| n.to_string()).collect();
    // Go style, message by message.
    let mut stream = client.count("500").in_tokio().wait().unwrap();
    let mut got = Vec::new();
    while let Some(word) = stream.message().in_tokio().wait().unwrap() {
        got.push(word);
    }
    assert_eq!(got, expected);
    // async, as a stream.
    let all = async {
        let stream = client.count("500").await.unwrap();
        stream.map(Result::unwrap).collect::<Vec<_>>().await
    };
    assert_eq!(all.in_tokio().wait(), expected);
    // Left half-way, the coroutine behind it ends too: the server stops with nothing to cancel.
    let mut stream = client.count("1000000000").in_tokio().wait().unwrap();
    assert_eq!(stream.message().in_tokio().wait().unwrap().as_deref(), Some("0"));
    drop((stream, client));
    stop(server);
}

#[test]
fn its_channel_runs_over_our_sockets() {
    let _dog = watchdog!(60);
    let server = serve();
    let channel = endpoint(&server).connect_with_connector(Connector::new()).in_tokio().wait().unwrap();
    let mut client = Client(tonic::client::Grpc::new(channel));
    assert_eq!(client.upper("over").in_tokio().wait().unwrap(), "OVER");
    drop(client);
    stop(server);
}

#[test]
fn errors_are_its_statuses() {
    let _dog = watchdog!(60);
    leaks_no_descriptor(test_path!(), || {
        let nobody: Endpoint = format!("http://{}", listener().local_addr().unwrap()).parse().unwrap();
        let error = nobody.connect().in_tokio().wait().unwrap_err();
        assert!(chain(&error).contains("refused"), "{}", chain(&error));

        let server = serve();
        let connecting = endpoint(&server);
        let channel = connecting.connect().in_tokio().wait().unwrap();
        let mut client = Client(tonic::client::Grpc::new(channel));
        let status = client.upper("fail").in_tokio().wait().unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "as asked"));
        let status = client.count("what").in_tokio().wait().unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        stop(server);
        // The server has gone.
        let status = client.upper("late").in_tokio().wait().unwrap_err();
        assert!(matches!(status.code(), Code::Unavailable | Code::Unknown), "{status:?}");
    });
}
