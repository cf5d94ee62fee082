//! `no-user-code`: wakers are called and dropped, and messages dropped, outside the lock. Here all of them look at the channel,
//! which under its lock would be a deadlock.

use super::{Link, Party, cases, full_link, link, send, start, with_receive, with_send};
use crate::channel::bounded;
use crate::channel::waiting::Receiving;
use crate::model::{Poller, explore, wait_for};
use loom::thread;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

cases! {
    a_receiver_is_woken_outside_the_lock {
        frame_rendezvous(Frame, RENDEZVOUS);
        frame_bounded(Frame, 1);
        future_rendezvous(Future, RENDEZVOUS);
        future_bounded(Future, 1);
    }
    a_sender_is_woken_outside_the_lock {
        frame(Frame);
        future(Future);
    }
}

/// Looks at the channel when it is called, and when it is dropped.
struct Looker {
    channel: Link,
    called: Poller,
}

impl Looker {
    fn new(channel: &Link) -> Arc<Self> {
        Arc::new(Self { channel: channel.clone(), called: Poller::new() })
    }

    fn look(&self) {
        self.channel.with(|state| state.len());
    }
}

impl Wake for Looker {
    fn wake(self: Arc<Self>) {
        self.look();
        self.called.notify();
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        self.look();
    }
}

fn a_receiver_is_woken_outside_the_lock(receiver: Party, capacity: usize) {
    explore(move || {
        let channel = link(capacity);
        let looker = Looker::new(&channel);
        let sender = start(&channel, |channel| assert_eq!(send(channel, Party::Frame, 1), None));
        let waker = Waker::from(looker.clone());
        with_receive(&channel, receiver, |poll| {
            while poll(&mut Context::from_waker(&waker)).is_pending() {
                looker.called.wait();
            }
        });
        sender.join().unwrap();
    });
}

fn a_sender_is_woken_outside_the_lock(sender: Party) {
    explore(move || {
        let channel = full_link();
        let looker = Looker::new(&channel);
        let receiver = start(&channel, super::take_now);
        let waker = Waker::from(looker.clone());
        with_send(&channel, sender, 1, |poll| {
            while poll(&mut Context::from_waker(&waker)).is_pending() {
                looker.called.wait();
            }
        });
        assert_eq!(receiver.join().unwrap(), Some(0));
    });
}

/// A future that is polled with another waker, and then dropped: both wakers go outside the lock.
#[test]
fn wakers_are_dropped_outside_the_lock() {
    explore(|| {
        let channel = link(0);
        let peer = start(&channel, |channel| channel.close());
        {
            let receiving = pin!(Receiving::revocable(&*channel));
            for _ in 0..2 {
                let waker = Waker::from(Looker::new(&channel));
                let _: Poll<_> = receiving.as_ref().poll_message(&mut Context::from_waker(&waker));
            }
        }
        peer.join().unwrap();
    });
}

/// A message that looks at its channel when it is dropped.
struct Curious(Arc<OnceLock<crate::channel::WeakSender<Self>>>);

impl Drop for Curious {
    fn drop(&mut self) {
        if let Some(sender) = self.0.get().and_then(crate::channel::WeakSender::upgrade) {
            let _ = sender.len();
        }
    }
}

#[test]
fn queued_messages_are_dropped_outside_the_lock() {
    explore(|| {
        let (sender, receiver) = bounded(1);
        let back = Arc::new(OnceLock::new());
        assert!(back.set(sender.downgrade()).is_ok());
        let dropper = thread::spawn(move || drop(receiver));
        let _ = sender.try_send(Curious(back.clone()));
        dropper.join().unwrap();
    });
}

/// A future that moves to another task once it has been polled: that task is woken.
#[test]
fn the_last_poll_of_a_receive_decides_who_is_woken() {
    explore(|| {
        let channel = link(0);
        let sender = start(&channel, |channel| assert_eq!(send(channel, Party::Frame, 1), None));
        let receiving = pin!(Receiving::revocable(&*channel));
        let receiving = receiving.into_ref();
        let received = match receiving.poll_message(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(received) => received,
            Poll::Pending => wait_for(poll_fn(|cx| receiving.poll_message(cx))),
        };
        assert_eq!(received, Ok(1));
        sender.join().unwrap();
    });
}

#[test]
fn the_last_poll_of_a_send_decides_who_is_woken() {
    explore(|| {
        let channel = full_link();
        let receiver = start(&channel, super::take_now);
        with_send(&channel, Party::Future, 1, |poll| {
            if poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                wait_for(poll_fn(poll));
            }
        });
        assert_eq!(receiver.join().unwrap(), Some(0));
        assert_eq!(super::take_now(&channel), Some(1));
    });
}
