//! Large messages on small stacks: a message moves from place to place, and not through the frames of the calls in between, of which an
//! unoptimised build keeps a copy each.
//!
//! Every operation runs on a stack of its own that is a small multiple of the message: its overflow would end the process. The high
//! water of each is printed.

mod common;

use aqueduct::channel::{self, Receiver, SendError, Sender, oneshot};
use aqueduct::select::Select;
use aqueduct::{JoinHandle, Wait, select, select_async, task, time};
use common::watchdog;
use std::hint::black_box;
use std::time::Duration;

const KIB: usize = 1 << 10;
const LARGE: usize = 64 * KIB;
const LONG: Duration = Duration::from_secs(60);

type Large = [u8; LARGE];

/// An operation's name, and whether it did what it should.
type Named<F> = (&'static str, F);
type Send = fn(Sender<Large>) -> bool;
type Receive = fn(Receiver<Large>) -> bool;
type Operation = fn(&Sender<Large>, &Receiver<Large>) -> bool;

/// What the stacks are, in messages: the default for coroutines in an unoptimised build, where a caller's own expressions take
/// several (`rx.recv().unwrap()` alone three); else less than a coroutine of many systems has for everything.
const MESSAGES: usize = if cfg!(debug_assertions) { 14 } else { 5 };

/// Never in the caller's frame.
#[inline(never)]
fn message(fill: u8) -> Large {
    black_box([fill; LARGE])
}

#[inline(never)]
fn is_full_of(message: &Large, fill: u8) -> bool {
    message.iter().all(|&byte| byte == fill)
}

/// Runs an operation on its own small stack, and prints how much of that it took.
fn on_a_small_stack<R: std::marker::Send + 'static>(
    what: &'static str,
    operation: impl FnOnce() -> R + std::marker::Send + 'static,
) -> JoinHandle<R> {
    // A future that sends holds its message, and unoptimised code passes the futures around it by value.
    let moved_around = cfg!(debug_assertions) && what.contains("async");
    let builder =
        task::Builder::new().name(what).stack_size(MESSAGES * LARGE * if moved_around { 2 } else { 1 });
    let measured = move || {
        let result = operation();
        let stack = task::current().stack();
        println!("{what}: {:.1} messages", stack.high_water() as f64 / LARGE as f64);
        assert!(stack.high_water() <= stack.size());
        result
    };
    builder.go(measured).expect("a coroutine")
}

/// A sender and a receiver of one message each, on stacks of their own; both must succeed.
fn transfer(capacity: usize, (sends, send): Named<Send>, (receives, receive): Named<Receive>) {
    let (tx, rx) = channel::bounded(capacity);
    let receiver = on_a_small_stack(receives, move || receive(rx));
    let sender = on_a_small_stack(sends, move || send(tx));
    assert!(sender.join().unwrap(), "{sends}, capacity {capacity}");
    assert!(receiver.join().unwrap(), "{receives}, capacity {capacity}");
}

fn is_one(received: Result<Large, impl std::fmt::Debug>) -> bool {
    matches!(&received, Ok(message) if is_full_of(message, 1))
}

const SENDS: [Named<Send>; 8] = [
    ("send", |tx| tx.send(message(1)).is_ok()),
    ("send_timeout", |tx| tx.send_timeout(message(1), LONG).is_ok()),
    ("send in a permit", |tx| tx.reserve().unwrap().send(message(1)).is_ok()),
    ("send in a future", |tx| tx.send_async(message(1)).wait().is_ok()),
    ("send_async in an async block", |tx| {
        Box::pin(async move { tx.send_async(message(1)).await.is_ok() }).wait()
    }),
    ("send in a select", |tx| {
        select! { r = tx <- message(1) => r.is_ok(), _ = <-time::after(LONG) => false }
    }),
    ("send from a slot", |tx| {
        let mut slot = Some(message(1));
        select! { tx <- from slot => {}, _ = <-time::after(LONG) => {} }
        slot.is_none()
    }),
    ("send in a Select", |tx| {
        Select::new().send(&tx, message(1), |r| r.is_ok()).recv(&time::after(LONG), |_| false).wait()
    }),
];

const RECEIVES: [Named<Receive>; 8] = [
    ("recv", |rx| is_one(rx.recv())),
    ("recv_timeout", |rx| is_one(rx.recv_timeout(LONG))),
    ("recv in a future", |rx| is_one(rx.recv_async().wait())),
    ("recv_async in an async block", |rx| Box::pin(async move { is_one(rx.recv_async().await) }).wait()),
    ("recv in a select", |rx| {
        select! { r = <-rx => is_one(r), _ = <-time::after(LONG) => false }
    }),
    ("recv in an async select", |rx| {
        Box::pin(async move {
            select_async! { r = <-rx => is_one(r), _ = <-time::after(LONG) => false }
        })
        .wait()
    }),
    ("recv in a Select", |rx| Select::new().recv(&rx, is_one).recv(&time::after(LONG), |_| false).wait()),
    ("recv_many", |rx| {
        let mut messages = Vec::new();
        rx.recv_many(&mut messages, 3) == Ok(1) && is_full_of(&messages[0], 1)
    }),
];

#[test]
fn sends_and_receives() {
    let _dog = watchdog!(120);
    for capacity in [0, 1, usize::MAX] {
        for send in SENDS {
            transfer(capacity, send, RECEIVES[0]);
        }
        for receive in RECEIVES {
            transfer(capacity, SENDS[0], receive);
        }
    }
}

/// What does not wait, and what gives the message back.
#[test]
fn tries_and_failures() {
    let _dog = watchdog!(60);
    let (tx, rx) = channel::bounded::<Large>(1);
    let operations: [Named<Operation>; 9] = [
        ("try_send", |tx, _| tx.try_send(message(1)).is_ok()),
        ("try_send, full", |tx, _| {
            tx.try_send(message(2)).is_err_and(|error| is_full_of(&error.into_inner(), 2))
        }),
        ("send_timeout, full", |tx, _| {
            let back = tx.send_timeout(message(2), Duration::from_millis(1));
            back.is_err_and(|error| is_full_of(&error.into_inner(), 2))
        }),
        ("force_send", |tx, _| matches!(tx.force_send(message(3)), Ok(Some(old)) if is_full_of(&old, 1))),
        ("try_recv", |_, rx| matches!(rx.try_recv(), Ok(message) if is_full_of(&message, 3))),
        ("try_recv, empty", |_, rx| rx.try_recv().is_err()),
        ("recv_timeout, empty", |_, rx| rx.recv_timeout(Duration::from_millis(1)).is_err()),
        ("drain", |tx, rx| tx.try_send(message(4)).is_ok() && rx.drain().all(|m| is_full_of(&m, 4))),
        ("send, closed", |tx, rx| {
            rx.close();
            matches!(tx.send(message(5)), Err(SendError(back)) if is_full_of(&back, 5))
        }),
    ];
    for (what, operation) in operations {
        let (tx, rx) = (tx.clone(), rx.clone());
        assert!(on_a_small_stack(what, move || operation(&tx, &rx)).join().unwrap(), "{what}");
    }
}

#[test]
fn one_message_and_no_more() {
    let _dog = watchdog!(60);
    let made = on_a_small_stack("oneshot::channel", oneshot::channel::<Large>);
    let (tx, rx) = made.join().unwrap();
    let receiver = on_a_small_stack("oneshot recv", move || is_one(rx.recv()));
    let sender = on_a_small_stack("oneshot send", move || tx.send(message(1)).is_ok());
    assert!(sender.join().unwrap() && receiver.join().unwrap());

    let (tx, rx) = oneshot::channel::<Large>();
    let receiver = on_a_small_stack("oneshot awaited", move || is_one(rx.wait()));
    let sender = on_a_small_stack("oneshot send", move || tx.send(message(1)).is_ok());
    assert!(sender.join().unwrap() && receiver.join().unwrap());

    let (tx, rx) = oneshot::channel::<Large>();
    drop(rx);
    let refused = on_a_small_stack(
        "oneshot send, refused",
        move || matches!(tx.send(message(2)), Err(back) if is_full_of(&back, 2)),
    );
    assert!(refused.join().unwrap());
}

/// A select of several cases: what they take does not add up with the other calls in between.
#[test]
fn selects_of_large_cases_in_one_another() {
    let _dog = watchdog!(60);
    let (tx, rx) = channel::bounded::<Large>(1);
    let (tx2, rx2) = channel::bounded::<Large>(0);
    tx.send(message(1)).unwrap();
    // Room for the variables of four cases.
    let builder = task::Builder::new().stack_size(2 * MESSAGES * LARGE);
    let task = builder.go(move || {
        let outer = select! {
            r = <-rx => is_one(r),
            r = <-rx2 => is_one(r),
            _ = <-time::never() => false,
        };
        // The channel has room again, and nobody sends into the other one.
        let inner = select! {
            r = tx <- message(2) => r.is_ok(),
            r = <-rx2 => is_one(r),
        };
        println!("selects: {:.1} messages", task::current().stack().high_water() as f64 / LARGE as f64);
        outer && inner && matches!(rx.try_recv(), Ok(message) if is_full_of(&message, 2))
    });
    assert!(task.unwrap().join().unwrap());
    drop(tx2);
}

/// A future that receives does not hold room for a message.
#[test]
fn a_future_that_waits_to_receive_is_small() {
    let (_tx, rx) = channel::bounded::<Large>(1);
    assert!(size_of_val(&rx.recv_async()) < 256);
}
