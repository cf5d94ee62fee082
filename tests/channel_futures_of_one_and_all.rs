//! As `channel_futures`, for `oneshot`, `watch` and `broadcast`: all schedules up to some length, against a model.

mod common;

use aqueduct::channel::{RecvError, TryRecvError, broadcast, oneshot, watch};
use common::{Counted, Drops};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};

/// The action makes no sense here.
struct Senseless;

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// A future that may be there.
struct Party<T> {
    future: Option<LocalBoxFuture<'static, T>>,
    woken: Arc<Flag>,
    pending: bool,
}

impl<T> Party<T> {
    fn new() -> Self {
        Self { future: None, woken: Arc::default(), pending: false }
    }

    fn poll_or_begin(&mut self, begin: impl FnOnce() -> LocalBoxFuture<'static, T>) -> Poll<T> {
        self.woken.0.store(false, SeqCst);
        let waker = Waker::from(self.woken.clone());
        let future = self.future.get_or_insert_with(begin);
        let polled = future.poll_unpin(&mut Context::from_waker(&waker));
        self.pending = polled.is_pending();
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }

    fn give_up(&mut self) -> Result<(), Senseless> {
        self.pending = false;
        self.future.take().map(drop).ok_or(Senseless)
    }

    fn is_woken(&self) -> bool {
        self.pending && self.woken.0.load(SeqCst)
    }
}

/// Runs every schedule up to a length; `run` says whether the last action made sense.
fn explore<A: Copy + std::fmt::Debug>(
    actions: &[A],
    depth: usize,
    run: &mut impl FnMut(&[A]) -> Result<(), Senseless>,
) {
    struct Report<'a, A: std::fmt::Debug>(&'a [A]);
    impl<A: std::fmt::Debug> Drop for Report<'_, A> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("schedule {:?}", self.0);
            }
        }
    }
    fn go<A: Copy + std::fmt::Debug>(
        actions: &[A],
        schedule: &mut Vec<A>,
        depth: usize,
        run: &mut impl FnMut(&[A]) -> Result<(), Senseless>,
    ) {
        for action in actions {
            schedule.push(*action);
            let made_sense = {
                let _report = Report(schedule);
                run(schedule).is_ok()
            };
            if made_sense && depth > 1 {
                go(actions, schedule, depth - 1, run);
            }
            schedule.pop();
        }
    }
    go(actions, &mut Vec::new(), depth, run);
}

#[derive(Clone, Copy, Debug)]
enum OneshotAction {
    Send,
    DropSender,
    PollReceiver,
    TryRecv,
    CloseReceiver,
    DropReceiver,
    PollClosed(usize),
    DropClosed(usize),
}

#[test]
fn oneshot_in_every_order() {
    use OneshotAction::*;
    let actions = [
        Send,
        DropSender,
        PollReceiver,
        TryRecv,
        CloseReceiver,
        DropReceiver,
        PollClosed(0),
        PollClosed(1),
        DropClosed(0),
    ];
    explore(&actions, 6, &mut run_oneshot);
}

/// What is known of a oneshot.
struct Oneshot {
    tx: Option<Rc<oneshot::Sender<Counted>>>,
    rx: Option<oneshot::Receiver<Counted>>,
    receiver: Party<()>,
    closed: [Party<()>; 2],
    /// Sent, and not received.
    lies_there: bool,
    refuses: bool,
}

impl Oneshot {
    fn poll_receiver(&mut self) -> Result<(), Senseless> {
        let rx = self.rx.as_mut().ok_or(Senseless)?;
        self.receiver.woken.0.store(false, SeqCst);
        let waker = Waker::from(self.receiver.woken.clone());
        let polled = rx.poll_unpin(&mut Context::from_waker(&waker));
        self.receiver.pending = polled.is_pending();
        match polled {
            Poll::Ready(Ok(_)) => assert!(std::mem::take(&mut self.lies_there)),
            Poll::Ready(Err(RecvError)) => assert!(!self.lies_there && (self.tx.is_none() || self.refuses)),
            Poll::Pending => {
                assert!(!self.lies_there && self.tx.is_some() && !self.refuses, "it would wait for ever")
            }
        }
        Ok(())
    }

    fn poll_closed(&mut self, i: usize) -> Result<(), Senseless> {
        let tx = self.tx.clone().ok_or(Senseless)?;
        let polled = self.closed[i].poll_or_begin(|| async move { tx.closed_async().await }.boxed_local());
        assert_eq!(polled.is_ready(), self.refuses);
        Ok(())
    }

    fn sender(&mut self) -> Result<oneshot::Sender<Counted>, Senseless> {
        let tx = self.tx.take().ok_or(Senseless)?;
        Rc::try_unwrap(tx).map_err(|shared| {
            // Somebody waits for `closed`, and borrows it.
            self.tx = Some(shared);
            Senseless
        })
    }
}

fn run_oneshot(schedule: &[OneshotAction]) -> Result<(), Senseless> {
    let drops = Drops::new();
    let (tx, rx) = oneshot::channel();
    let mut world = Oneshot {
        tx: Some(Rc::new(tx)),
        rx: Some(rx),
        receiver: Party::new(),
        closed: [Party::new(), Party::new()],
        lies_there: false,
        refuses: false,
    };
    for action in schedule {
        match action {
            OneshotAction::Send => {
                let sent = world.sender()?.send(drops.one());
                assert_eq!(sent.is_err(), world.refuses);
                world.lies_there = sent.is_ok();
            }
            OneshotAction::DropSender => drop(world.sender()?),
            OneshotAction::PollReceiver => world.poll_receiver()?,
            OneshotAction::TryRecv => match world.rx.as_mut().ok_or(Senseless)?.try_recv() {
                Ok(_) => assert!(std::mem::take(&mut world.lies_there)),
                Err(TryRecvError::Empty) => {
                    assert!(!world.lies_there && world.tx.is_some() && !world.refuses)
                }
                Err(TryRecvError::Closed) => {
                    assert!(!world.lies_there && (world.tx.is_none() || world.refuses))
                }
            },
            OneshotAction::CloseReceiver => {
                world.rx.as_mut().ok_or(Senseless)?.close();
                world.refuses = true;
            }
            OneshotAction::DropReceiver => {
                drop(world.rx.take().ok_or(Senseless)?);
                world.receiver.pending = false;
                (world.lies_there, world.refuses) = (false, true);
            }
            OneshotAction::PollClosed(i) => world.poll_closed(*i)?,
            OneshotAction::DropClosed(i) => world.closed[*i].give_up()?,
        }
    }
    // Whoever waits and was not woken has a reason to wait.
    if world.receiver.pending && !world.receiver.is_woken() {
        world.poll_receiver()?;
        // Closing is the receiver's own doing, and wakes it not.
        assert!(world.receiver.pending || world.refuses, "a wake-up was lost");
    }
    for i in 0..2 {
        if world.closed[i].pending && !world.closed[i].is_woken() {
            world.poll_closed(i)?;
            assert!(world.closed[i].pending, "a wake-up was lost");
        }
    }
    drop(world);
    assert_eq!(drops.made(), drops.dropped());
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Send,
    DropSender,
    /// Of receiver 0 or 1: its waiting future.
    Poll(usize),
    GiveUp(usize),
    /// Without waiting.
    Look(usize),
    Leave(usize),
}

const ACTIONS: [Action; 10] = [
    Action::Send,
    Action::DropSender,
    Action::Poll(0),
    Action::Poll(1),
    Action::GiveUp(0),
    Action::GiveUp(1),
    Action::Look(0),
    Action::Look(1),
    Action::Leave(0),
    Action::Leave(1),
];

/// A receiver, a wait of it, and what it is known to have seen.
struct Seen<R, T> {
    rx: Option<Rc<RefCell<R>>>,
    party: Party<T>,
    seen: u64,
}

impl<R, T> Seen<R, T> {
    fn new(rx: R) -> Self {
        Self { rx: Some(Rc::new(RefCell::new(rx))), party: Party::new(), seen: 0 }
    }

    /// The receiver, if no wait borrows it.
    fn free(&self) -> Result<&Rc<RefCell<R>>, Senseless> {
        if self.party.future.is_some() { Err(Senseless) } else { self.rx.as_ref().ok_or(Senseless) }
    }

    fn leave(&mut self) -> Result<(), Senseless> {
        self.free()?;
        drop(self.rx.take());
        Ok(())
    }
}

type WatchSeen = Seen<watch::Receiver<u64>, Result<(), RecvError>>;

#[test]
fn watch_in_every_order() {
    explore(&ACTIONS, 6, &mut run_watch);
}

#[expect(clippy::await_holding_refcell_ref, reason = "the model asks before it borrows")]
fn poll_watch(one: &mut WatchSeen, latest: u64, closed: bool) -> Result<(), Senseless> {
    let rx = one.rx.clone().ok_or(Senseless)?;
    let waited = rx.clone();
    let polled =
        one.party.poll_or_begin(|| async move { waited.borrow_mut().changed_async().await }.boxed_local());
    match polled {
        Poll::Ready(Ok(())) => {
            assert!(one.seen < latest);
            one.seen = latest;
            assert_eq!(*rx.borrow().borrow(), latest);
        }
        Poll::Ready(Err(RecvError)) => assert!(closed && one.seen == latest),
        Poll::Pending => assert!(!closed && one.seen == latest, "it would wait for ever"),
    }
    Ok(())
}

fn run_watch(schedule: &[Action]) -> Result<(), Senseless> {
    let (tx, rx) = watch::channel(0);
    let mut tx = Some(tx);
    let mut latest = 0;
    let mut receivers = [Seen::new(rx.clone()), Seen::new(rx)];
    for action in schedule {
        match *action {
            Action::Send => {
                latest += 1;
                tx.as_ref().ok_or(Senseless)?.send(latest);
            }
            Action::DropSender => drop(tx.take().ok_or(Senseless)?),
            Action::Poll(i) => poll_watch(&mut receivers[i], latest, tx.is_none())?,
            Action::GiveUp(i) => receivers[i].party.give_up()?,
            Action::Look(i) => {
                let one = &mut receivers[i];
                assert_eq!(one.free()?.borrow().has_changed(), one.seen != latest);
                assert_eq!(*one.free()?.borrow_mut().borrow_and_update(), latest);
                one.seen = latest;
            }
            Action::Leave(i) => receivers[i].leave()?,
        }
    }
    for one in &mut receivers {
        if one.party.pending && !one.party.is_woken() {
            poll_watch(one, latest, tx.is_none())?;
            assert!(one.party.pending, "a wake-up was lost");
        }
    }
    let there = receivers.iter().filter(|one| one.rx.is_some()).count();
    assert!(tx.is_none_or(|tx| tx.receiver_count() == there));
    Ok(())
}

/// A message: its number, and its drop.
type Numbered = (u64, Arc<Counted>);
type BroadcastSeen = Seen<broadcast::Receiver<Numbered>, Result<Numbered, broadcast::RecvError>>;

#[test]
fn broadcast_in_every_order() {
    for capacity in [1, 2] {
        explore(&ACTIONS, 6, &mut |schedule| run_broadcast(schedule, capacity));
    }
}

/// Checks what a receiver got, when `sent` messages had been sent.
fn check_broadcast(
    seen: &mut u64,
    result: Result<Numbered, broadcast::RecvError>,
    sent: u64,
    capacity: u64,
    closed: bool,
) {
    let missed = sent.saturating_sub(capacity).saturating_sub(*seen);
    match result {
        Ok((number, _)) => {
            assert_eq!((number, missed), (*seen, 0));
            *seen += 1;
        }
        Err(broadcast::RecvError::Lagged(n)) => {
            assert!(n == missed && n > 0);
            *seen += n;
        }
        Err(broadcast::RecvError::Closed) => assert!(closed && *seen == sent),
    }
}

#[expect(clippy::await_holding_refcell_ref, reason = "the model asks before it borrows")]
fn poll_broadcast(one: &mut BroadcastSeen, sent: u64, capacity: u64, closed: bool) -> Result<(), Senseless> {
    let rx = one.rx.clone().ok_or(Senseless)?;
    match one.party.poll_or_begin(|| async move { rx.borrow_mut().recv_async().await }.boxed_local()) {
        Poll::Ready(result) => check_broadcast(&mut one.seen, result, sent, capacity, closed),
        Poll::Pending => assert!(!closed && one.seen == sent, "it would wait for ever"),
    }
    Ok(())
}

fn run_broadcast(schedule: &[Action], capacity: u64) -> Result<(), Senseless> {
    let drops = Drops::new();
    let (tx, rx) = broadcast::channel(capacity as usize);
    let mut tx = Some(tx);
    let mut sent = 0;
    let mut receivers = [Seen::new(rx.clone()), Seen::new(rx)];
    for action in schedule {
        match *action {
            Action::Send => {
                let there = receivers.iter().filter(|one| one.rx.is_some()).count();
                let result = tx.as_ref().ok_or(Senseless)?.send((sent, Arc::new(drops.one())));
                assert_eq!(result.ok(), (there > 0).then_some(there));
                sent += 1;
            }
            Action::DropSender => drop(tx.take().ok_or(Senseless)?),
            Action::Poll(i) => poll_broadcast(&mut receivers[i], sent, capacity, tx.is_none())?,
            Action::GiveUp(i) => receivers[i].party.give_up()?,
            Action::Look(i) => {
                let one = &mut receivers[i];
                let received = one.free()?.borrow_mut().try_recv();
                let received = match received {
                    Ok(message) => Ok(message),
                    Err(broadcast::TryRecvError::Lagged(n)) => Err(broadcast::RecvError::Lagged(n)),
                    Err(broadcast::TryRecvError::Closed) => Err(broadcast::RecvError::Closed),
                    Err(broadcast::TryRecvError::Empty) => {
                        assert!(tx.is_some() && one.seen == sent);
                        continue;
                    }
                };
                check_broadcast(&mut one.seen, received, sent, capacity, tx.is_none());
            }
            Action::Leave(i) => receivers[i].leave()?,
        }
        // Kept is what somebody who is there has yet to get.
        let slowest = receivers.iter().filter(|one| one.rx.is_some()).map(|one| one.seen).min();
        let kept = slowest.map_or(0, |slowest| (sent - slowest).min(capacity));
        assert!(tx.as_ref().is_none_or(|tx| tx.len() as u64 == kept));
        assert_eq!((drops.made() - drops.dropped()) as u64, kept);
    }
    for one in &mut receivers {
        if one.party.pending && !one.party.is_woken() {
            poll_broadcast(one, sent, capacity, tx.is_none())?;
            assert!(one.party.pending, "a wake-up was lost");
        }
    }
    drop((tx, receivers));
    assert_eq!(drops.made(), drops.dropped());
    Ok(())
}
