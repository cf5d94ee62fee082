//! The channels.

use std::sync::Arc;
use std::time::Duration;

use workloads::blocking::{Channel, Selectable};

pub(crate) struct May;
pub(crate) struct Kanal;
pub(crate) struct Flume;
pub(crate) struct Crossbeam;

workloads::blocking_channel!(Kanal, kanal, 0);
workloads::blocking_channel!(Flume, flume, 0);
workloads::blocking_channel!(Crossbeam, crossbeam_channel, 0);

impl Selectable for Crossbeam {
    fn choose([a, b, c, d]: [Self::Rx; 4], count: u64, limit: Option<Duration>) -> u64 {
        use crossbeam_channel::select;
        let mut sum = 0;
        for _ in 0..count {
            let message = match limit {
                None => select! {
                    recv(a) -> v => v,
                    recv(b) -> v => v,
                    recv(c) -> v => v,
                    recv(d) -> v => v,
                },
                Some(limit) => select! {
                    recv(a) -> v => v,
                    recv(b) -> v => v,
                    recv(c) -> v => v,
                    recv(d) -> v => v,
                    recv(crossbeam_channel::after(limit)) -> _ => panic!("the timer fired"),
                },
            };
            sum += message.expect("the senders are there");
        }
        sum
    }
}

impl Selectable for Flume {
    fn choose([a, b, c, d]: [Self::Rx; 4], count: u64, limit: Option<Duration>) -> u64 {
        let mut sum = 0;
        for _ in 0..count {
            let selector =
                flume::Selector::new().recv(&a, |v| v).recv(&b, |v| v).recv(&c, |v| v).recv(&d, |v| v);
            let message = match limit {
                None => selector.wait(),
                Some(limit) => selector.wait_timeout(limit).expect("the timer does not fire"),
            };
            sum += message.expect("the senders are there");
        }
        sum
    }
}

/// may's channels are unbounded; with a semaphore of free places beside them they are bounded.
pub(crate) struct MayTx(may::sync::mpmc::Sender<u64>, Arc<may::sync::Semphore>);
pub(crate) struct MayRx(may::sync::mpmc::Receiver<u64>, Arc<may::sync::Semphore>);

impl Clone for MayTx {
    fn clone(&self) -> Self {
        Self(self.0.clone(), Arc::clone(&self.1))
    }
}

impl Channel for May {
    type Tx = MayTx;
    type Rx = MayRx;
    const SMALLEST: usize = 1;

    fn bounded(capacity: usize) -> (MayTx, MayRx) {
        let (tx, rx) = may::sync::mpmc::channel();
        let places = Arc::new(may::sync::Semphore::new(capacity));
        (MayTx(tx, Arc::clone(&places)), MayRx(rx, places))
    }
    fn send(tx: &MayTx, value: u64) {
        tx.1.wait();
        tx.0.send(value).expect("the receiver is there")
    }
    fn recv(rx: &MayRx) -> Option<u64> {
        let value = rx.0.recv().ok()?;
        rx.1.post();
        Some(value)
    }
    fn share(rx: &MayRx) -> MayRx {
        MayRx(rx.0.clone(), Arc::clone(&rx.1))
    }
}

impl Selectable for May {
    /// By a helper coroutine for each channel, kept over the loop, which is how its select works.
    fn choose(rxs: [MayRx; 4], count: u64, limit: Option<Duration>) -> u64 {
        let sum = std::sync::atomic::AtomicU64::new(0);
        may::cqueue::scope(|queue| {
            for (token, rx) in rxs.iter().enumerate() {
                let sum = &sum;
                may::go!(queue, token, move |events: may::cqueue::EventSender| {
                    while let Some(value) = May::recv(rx) {
                        events.send(token);
                        sum.fetch_add(value, std::sync::atomic::Ordering::Relaxed);
                    }
                });
            }
            for _ in 0..count {
                queue.poll(limit).unwrap_or_else(|_| panic!("the timer fired"));
            }
        });
        sum.into_inner()
    }
}
