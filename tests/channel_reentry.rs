//! User code that a channel runs, and that uses the channel in turn: destructors of messages, and every part of a waker. None of it may
//! run under a lock.

mod common;

use aqueduct::channel::{self, Receiver, Sender, broadcast, oneshot, watch};
use common::{Counted, Drops, panic_of};
use futures::{FutureExt, SinkExt, StreamExt};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

/// A waker that calls a closure in its clone, its wake and its drop.
struct Meddling {
    meddle: Box<dyn Fn() + Send + Sync>,
    calls: AtomicUsize,
}

impl Meddling {
    fn waker(meddle: impl Fn() + Send + Sync + 'static) -> (Waker, Arc<Self>) {
        let this = Arc::new(Self { meddle: Box::new(meddle), calls: AtomicUsize::new(0) });
        let data = Arc::into_raw(this.clone()).cast();
        // SAFETY: the functions of the table treat the data as the `Arc<Meddling>` that it is, by the rules of `RawWaker`.
        (unsafe { Waker::from_raw(RawWaker::new(data, &TABLE)) }, this)
    }

    fn call(&self) {
        // Not within itself.
        if self.calls.fetch_add(1, SeqCst) < 10_000 {
            (self.meddle)();
        }
    }
}

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, release);

fn with(data: *const ()) -> Arc<Meddling> {
    // SAFETY: see `Meddling::waker`; the count is raised for the one that is returned.
    unsafe {
        Arc::increment_strong_count(data.cast::<Meddling>());
        Arc::from_raw(data.cast::<Meddling>())
    }
}

fn clone(data: *const ()) -> RawWaker {
    let this = with(data);
    this.call();
    RawWaker::new(Arc::into_raw(this).cast(), &TABLE)
}

fn wake(data: *const ()) {
    wake_by_ref(data);
    release(data);
}

fn wake_by_ref(data: *const ()) {
    with(data).call();
}

fn release(data: *const ()) {
    with(data).call();
    // SAFETY: the waker's own count.
    unsafe { Arc::decrement_strong_count(data.cast::<Meddling>()) };
}

#[test]
fn wakers_may_use_the_channel_they_wait_for() {
    for capacity in [Some(0), Some(1), None] {
        let (tx, rx): (Sender<u32>, Receiver<u32>) = match capacity {
            Some(capacity) => channel::bounded(capacity),
            None => channel::unbounded(),
        };
        let (weak_tx, weak_rx) = (tx.downgrade(), rx.downgrade());
        let (waker, meddling) = Meddling::waker(move || {
            if let (Some(tx), Some(rx)) = (weak_tx.upgrade(), weak_rx.upgrade()) {
                let _ = (tx.try_send(1), rx.try_recv(), tx.len(), tx.try_reserve().is_ok());
            }
        });
        let mut cx = Context::from_waker(&waker);
        for _ in 0..3 {
            let mut receiving = Box::pin(rx.recv_async());
            let mut stream = rx.clone().into_stream();
            let _ = (receiving.poll_unpin(&mut cx), stream.poll_next_unpin(&mut cx));
            let _ = (receiving.poll_unpin(&mut cx), tx.try_send(2), stream.poll_next_unpin(&mut cx));
            let mut sending = Box::pin(tx.send_async(3));
            let mut reserving = Box::pin(tx.reserve_async());
            let mut sink = tx.clone().into_sink();
            let _ = (sending.poll_unpin(&mut cx), reserving.poll_unpin(&mut cx).is_ready());
            if sink.poll_ready_unpin(&mut cx).is_ready() {
                let _ = (sink.start_send_unpin(4), sink.poll_flush_unpin(&mut cx).is_ready());
            }
            drop((rx.try_recv(), rx.drain()));
            let _ = sending.as_mut().cancel();
        }
        tx.close();
        drop((tx, rx));
        assert!(meddling.calls.load(SeqCst) > 0);
    }
}

#[test]
fn wakers_may_use_a_oneshot_they_wait_for() {
    let (tx, mut rx) = oneshot::channel::<u32>();
    let tx = Arc::new(tx);
    let weak = Arc::downgrade(&tx);
    let (waker, meddling) = Meddling::waker(move || {
        if let Some(tx) = weak.upgrade() {
            let _ = (tx.is_closed(), tx.closed_async().now_or_never());
        }
    });
    let mut cx = Context::from_waker(&waker);
    let _ = (rx.poll_unpin(&mut cx), rx.poll_unpin(&mut cx));
    {
        let mut closed = Box::pin(tx.closed_async());
        let _ = (closed.poll_unpin(&mut cx), closed.poll_unpin(&mut cx));
        rx.close();
        assert!(closed.poll_unpin(&mut cx).is_ready());
    }
    drop((rx, tx));
    assert!(meddling.calls.load(SeqCst) > 0);
}

#[test]
fn wakers_may_use_a_watch_they_wait_for() {
    let (tx, mut rx) = watch::channel(0);
    let (sender, receiver) = (tx.clone(), rx.clone());
    let (waker, meddling) = Meddling::waker(move || {
        let _ = (sender.borrow(), receiver.borrow(), receiver.clone().borrow_and_update());
    });
    let mut cx = Context::from_waker(&waker);
    for _ in 0..3 {
        let mut changing = Box::pin(rx.changed_async());
        let _ = (changing.poll_unpin(&mut cx), changing.poll_unpin(&mut cx));
        tx.send(1);
        assert!(changing.poll_unpin(&mut cx).is_ready());
        drop(changing);
        let mut waiting = Box::pin(rx.wait_for_async(|_| false));
        let _ = (waiting.poll_unpin(&mut cx), tx.send(2), waiting.poll_unpin(&mut cx));
        let _ = Box::pin(tx.closed_async()).poll_unpin(&mut cx);
    }
    assert!(meddling.calls.load(SeqCst) > 0);
}

#[test]
fn wakers_may_use_a_broadcast_they_wait_for() {
    let (tx, mut rx) = broadcast::channel(1);
    let sender = tx.clone();
    let (waker, meddling) = Meddling::waker(move || {
        let _ = (sender.subscribe(), sender.len());
    });
    let mut cx = Context::from_waker(&waker);
    for _ in 0..3 {
        let mut receiving = Box::pin(rx.recv_async());
        let _ = (receiving.poll_unpin(&mut cx), receiving.poll_unpin(&mut cx));
        tx.send(1).unwrap();
        assert!(receiving.poll_unpin(&mut cx).is_ready());
    }
    assert!(meddling.calls.load(SeqCst) > 0);
}

/// A message whose destructor uses its channel.
struct Homesick(Option<(channel::WeakSender<Homesick>, channel::WeakReceiver<Homesick>)>);

impl Drop for Homesick {
    fn drop(&mut self) {
        let Some((tx, rx)) = self.0.take() else { return };
        if let Some(tx) = tx.upgrade() {
            let _ = (tx.len(), tx.try_send(Homesick(None)), tx.force_send(Homesick(None)));
        }
        if let Some(rx) = rx.upgrade() {
            let _ = (rx.try_recv(), rx.drain().count(), rx.close());
        }
    }
}

#[test]
fn destructors_of_messages_may_use_the_channel() {
    for capacity in [Some(0), Some(1), Some(3), None] {
        for way in 0..6 {
            let (tx, rx) = match capacity {
                Some(capacity) => channel::bounded(capacity),
                None => channel::unbounded(),
            };
            let message = || Homesick(Some((tx.downgrade(), rx.downgrade())));
            let _ = (tx.try_send(message()), tx.try_send(message()));
            let mut sending = Box::pin(tx.send_async(message()));
            let _ = sending.poll_unpin(&mut Context::from_waker(Waker::noop()));
            match way {
                0 => drop(sending),
                1 => drop(sending.as_mut().cancel()),
                2 => drop(rx.drain()),
                3 => drop(tx.force_send(message())),
                4 => drop(rx),
                _ => drop((rx.close(), rx.try_recv())),
            }
        }
    }
}

/// Those of the messages behind it run all the same.
#[test]
fn a_destructor_that_panics_in_an_abandoned_queue() {
    struct Message {
        _counted: Counted,
        is_bad: bool,
    }
    impl Drop for Message {
        fn drop(&mut self) {
            assert!(!self.is_bad, "of a message");
        }
    }
    for bad in 0..6 {
        let drops = Drops::new();
        let message = |is_bad| Message { _counted: drops.one(), is_bad };
        let (tx, rx) = channel::unbounded();
        // The queue has places for eight at first, and has gone round.
        (0..5).for_each(|_| tx.send(message(false)).ok().unwrap());
        (0..5).for_each(|_| drop(rx.recv().unwrap()));
        (0..6).for_each(|i| tx.send(message(i == bad)).ok().unwrap());
        assert_eq!(panic_of(|| drop(rx)), "of a message");
        assert_eq!((drops.made(), drops.dropped()), (11, 11));
        assert!(tx.is_closed());
    }
}

#[test]
fn destructors_of_a_oneshots_message_and_of_watched_values_may_use_the_channel() {
    struct Looks<F: Fn()>(F);
    impl<F: Fn()> Drop for Looks<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    let (other, _rx) = watch::channel(0);
    let (tx, rx) = watch::channel(None);
    let sender = tx.clone();
    let look = move || drop((sender.borrow(), sender.subscribe()));
    tx.send(Some(Looks(Box::new(look) as Box<dyn Fn()>)));
    tx.send(None);
    drop((tx, rx));
    // A message that holds its own sender's neighbour, dropped with the receiver.
    let (tx, rx) = oneshot::channel();
    assert!(tx.send(Looks(move || other.send(1))).is_ok());
    drop(rx);
}
