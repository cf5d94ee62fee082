//! The end: closing, and handles that go, against everybody who waits.

use super::{Party, cases, full_link, link, receive, send, start, take_now};
use crate::channel::{bounded, unbounded};
use crate::model::{explore, explore_bounded};
use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;

cases! {
    a_sender_sees_the_end {
        rendezvous_frame(RENDEZVOUS, Frame);
        rendezvous_future(RENDEZVOUS, Future);
        bounded_frame(1, Frame);
        bounded_future(1, Future);
    }
    a_receiver_sees_the_end {
        rendezvous_frame(RENDEZVOUS, Frame);
        rendezvous_future(RENDEZVOUS, Future);
        bounded_frame(1, Frame);
        bounded_future(1, Future);
        unbounded_frame(UNBOUNDED, Frame);
        unbounded_future(UNBOUNDED, Future);
    }
    a_message_before_the_end_is_received {
        bounded_frame(1, Frame);
        bounded_future(1, Future);
        unbounded_frame(UNBOUNDED, Frame);
        unbounded_future(UNBOUNDED, Future);
    }
    two_receivers_see_the_end {
        rendezvous(RENDEZVOUS);
        unbounded(UNBOUNDED);
    }
}

fn a_sender_sees_the_end(capacity: usize, sender: Party) {
    explore(move || {
        let channel = if capacity == 0 { link(0) } else { full_link() };
        let closer = start(&channel, |channel| channel.close());
        assert_eq!(send(&channel, sender, 1), Some(1));
        assert!(closer.join().unwrap());
    });
}

fn a_receiver_sees_the_end(capacity: usize, receiver: Party) {
    explore(move || {
        let channel = link(capacity);
        let closer = start(&channel, |channel| channel.close());
        assert_eq!(receive(&channel, receiver), None);
        assert!(closer.join().unwrap());
    });
}

fn a_message_before_the_end_is_received(capacity: usize, receiver: Party) {
    explore_bounded(3, move || {
        let channel = link(capacity);
        let sender = start(&channel, |channel| {
            assert_eq!(send(channel, Party::Frame, 1), None);
            channel.close();
        });
        assert_eq!([(); 2].map(|()| receive(&channel, receiver)), [Some(1), None]);
        sender.join().unwrap();
    });
}

// Three threads: bounded for time.
fn two_receivers_see_the_end(capacity: usize) {
    explore_bounded(3, move || {
        let channel = link(capacity);
        let receivers = [Party::Frame, Party::Future]
            .map(|party| start(&channel, move |channel| assert_eq!(receive(channel, party), None)));
        channel.close();
        receivers.into_iter().for_each(|receiver| receiver.join().unwrap());
    });
}

/// Each of two handles may be the last; one of them closes.
#[test]
fn the_last_of_two_senders_ends_a_receive() {
    explore_bounded(3, || {
        let (sender, receiver) = bounded::<u8>(1);
        let second = sender.clone();
        let droppers = [sender, second].map(|sender| thread::spawn(move || drop(sender)));
        assert_eq!(receive(&receiver.channel, Party::Frame), None);
        droppers.into_iter().for_each(|dropper| dropper.join().unwrap());
        assert_eq!(receiver.sender_count(), 0);
    });
}

#[test]
fn a_sender_drops_its_handle_after_its_message() {
    explore_bounded(3, || {
        let (sender, receiver) = unbounded::<u8>();
        let sender = thread::spawn(move || {
            assert_eq!(send(&sender.channel, Party::Frame, 1), None);
        });
        assert_eq!([(); 2].map(|()| receive(&receiver.channel, Party::Future)), [Some(1), None]);
        sender.join().unwrap();
    });
}

#[test]
fn the_last_receiver_ends_a_send() {
    for party in [Party::Frame, Party::Future] {
        explore(move || {
            let (sender, receiver) = bounded::<u8>(0);
            let dropper = thread::spawn(move || drop(receiver));
            assert_eq!(send(&sender.channel, party, 1), Some(1));
            dropper.join().unwrap();
        });
    }
}

/// Counts its drops.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Whether it comes back or was queued: it is dropped once, by its sender or with the queue.
#[test]
fn a_message_sent_to_the_last_receiver_is_dropped_once() {
    explore(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = bounded(1);
        let dropper = thread::spawn(move || drop(receiver));
        let sent = sender.try_send(Counted(drops.clone())).is_ok();
        dropper.join().unwrap();
        assert_eq!(drops.load(Relaxed), 1);
        assert_eq!(sender.len(), 0);
        drop(sender);
        assert!(sent || drops.load(Relaxed) == 1);
    });
}

/// A handle made of a weak one in time keeps the channel open; one too late is refused.
#[test]
fn an_upgrade_races_with_the_last_sender() {
    explore_bounded(3, || {
        let (sender, receiver) = bounded::<u8>(1);
        let weak = sender.downgrade();
        let dropper = thread::spawn(move || drop(sender));
        let upgraded = weak.upgrade();
        if let Some(sender) = &upgraded {
            assert_eq!(send(&sender.channel, Party::Frame, 1), None);
        }
        let expected = upgraded.is_some().then_some(1);
        drop(upgraded);
        assert_eq!(receive(&receiver.channel, Party::Future), expected);
        dropper.join().unwrap();
    });
}

/// Close from both ends: one of them is told that it did it.
#[test]
fn two_that_close_close_once() {
    explore(|| {
        let channel = link(1);
        let closer = start(&channel, |channel| channel.close());
        assert_ne!(channel.close(), closer.join().unwrap());
    });
}

/// The public future, dropped when the end has come.
#[test]
fn the_public_futures_see_the_end() {
    explore_bounded(2, || {
        let (sender, receiver) = bounded::<u8>(0);
        let closer = thread::spawn(move || receiver.close());
        assert!(block_on(sender.send_async(1)).is_err());
        assert!(closer.join().unwrap());
    });
}

/// Takes the queued message while the channel is closed: it is drained or seen by nobody twice.
#[test]
fn a_closed_channel_is_drained_once() {
    explore(|| {
        let channel = full_link();
        let taker = start(&channel, take_now);
        channel.close();
        let drained = receive(&channel, Party::Frame);
        assert_ne!(drained, taker.join().unwrap());
    });
}
