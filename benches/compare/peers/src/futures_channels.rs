//! The channels.

use std::time::Duration;

use workloads::asynchronous::{Channel, Mpmc, Selectable, Timed};

pub(crate) struct Kanal;
pub(crate) struct Flume;
pub(crate) struct AsyncChannel;
pub(crate) struct TokioMpsc;

impl Channel for Kanal {
    type Tx = kanal::AsyncSender<u64>;
    type Rx = kanal::AsyncReceiver<u64>;
    const SMALLEST: usize = 0;

    fn bounded(capacity: usize) -> (Self::Tx, Self::Rx) {
        kanal::bounded_async(capacity)
    }
    async fn send(tx: &Self::Tx, value: u64) {
        tx.send(value).await.expect("the receiver is there")
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv().await.ok()
    }
}

impl Mpmc for Kanal {
    fn share(rx: &Self::Rx) -> Self::Rx {
        rx.clone()
    }
}

impl Channel for Flume {
    type Tx = flume::Sender<u64>;
    type Rx = flume::Receiver<u64>;
    const SMALLEST: usize = 0;

    fn bounded(capacity: usize) -> (Self::Tx, Self::Rx) {
        flume::bounded(capacity)
    }
    async fn send(tx: &Self::Tx, value: u64) {
        tx.send_async(value).await.expect("the receiver is there")
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv_async().await.ok()
    }
}

impl Mpmc for Flume {
    fn share(rx: &Self::Rx) -> Self::Rx {
        rx.clone()
    }
}

impl Channel for AsyncChannel {
    type Tx = async_channel::Sender<u64>;
    type Rx = async_channel::Receiver<u64>;
    const SMALLEST: usize = 1;

    fn bounded(capacity: usize) -> (Self::Tx, Self::Rx) {
        async_channel::bounded(capacity)
    }
    async fn send(tx: &Self::Tx, value: u64) {
        tx.send(value).await.expect("the receiver is there")
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv().await.ok()
    }
}

impl Mpmc for AsyncChannel {
    fn share(rx: &Self::Rx) -> Self::Rx {
        rx.clone()
    }
}

impl Channel for TokioMpsc {
    type Tx = tokio::sync::mpsc::Sender<u64>;
    type Rx = tokio::sync::mpsc::Receiver<u64>;
    const SMALLEST: usize = 1;

    fn bounded(capacity: usize) -> (Self::Tx, Self::Rx) {
        tokio::sync::mpsc::channel(capacity)
    }
    async fn send(tx: &Self::Tx, value: u64) {
        tx.send(value).await.expect("the receiver is there")
    }
    async fn recv(rx: &mut Self::Rx) -> Option<u64> {
        rx.recv().await
    }
}

/// Select by tokio's macro, the one that all futures runtimes use.
macro_rules! selectable {
    ($channel:ident) => {
        impl Selectable for $channel {
            async fn select(rxs: &mut [Self::Rx; 4]) -> u64 {
                let [a, b, c, d] = rxs;
                let message = tokio::select! {
                    v = Self::recv(a) => v,
                    v = Self::recv(b) => v,
                    v = Self::recv(c) => v,
                    v = Self::recv(d) => v,
                };
                message.expect("the senders are there")
            }

            async fn select_or<R: Timed>(rxs: &mut [Self::Rx; 4], limit: Duration) -> u64 {
                let [a, b, c, d] = rxs;
                let message = tokio::select! {
                    v = Self::recv(a) => v,
                    v = Self::recv(b) => v,
                    v = Self::recv(c) => v,
                    v = Self::recv(d) => v,
                    _ = R::timer(limit) => panic!("the timer fired"),
                };
                message.expect("the senders are there")
            }
        }
    };
}

// Not kanal: it is not known that one of its pending receives may be dropped.
selectable!(Flume);
selectable!(AsyncChannel);
selectable!(TokioMpsc);
