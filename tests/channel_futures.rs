//! Every future of a channel, dropped at each of its suspension points: all schedules of a few parties up to some length.
//!
//! A schedule is a list of actions: a party is polled, dropped or cancelled, a peer acts, the channel is closed. After each schedule the
//! parties that were woken are polled until none is. Then whoever still waits must have a reason to (a message that lies there
//! while a receiver waits is a lost wake-up), and in the end every message must have been received once, or come back, or been
//! dropped with its owner; every place must be free again; every message must have been dropped once.

mod common;

use aqueduct::channel::{self, Permit, Receiver, RecvFuture, RecvStreamRef, ReserveFuture};
use aqueduct::channel::{SendFuture, SendSinkRef, Sender};
use aqueduct::{JoinHandle, LocalRuntime, yield_now};
use futures::{SinkExt, StreamExt};
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};

/// What happened to the messages.
#[derive(Default)]
struct Ledger {
    /// How often each was dropped.
    dropped: Vec<u32>,
    /// Sent for certain.
    accepted: Vec<usize>,
    received: Vec<usize>,
    /// Sent at once: their order is known.
    in_order: Vec<usize>,
}

type SharedLedger = Rc<RefCell<Ledger>>;

struct Message {
    id: usize,
    ledger: SharedLedger,
}

impl Message {
    fn new(ledger: &SharedLedger) -> Self {
        let id = ledger.borrow().dropped.len();
        ledger.borrow_mut().dropped.push(0);
        Self { id, ledger: ledger.clone() }
    }

    fn receive(self) {
        let ledger = self.ledger.clone();
        ledger.borrow_mut().received.push(self.id);
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.ledger.borrow_mut().dropped[self.id] += 1;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Recv,
    Send,
    Reserve,
    Stream,
    Sink,
    /// Go style, in a coroutine: committed.
    RecvCoroutine,
    SendCoroutine,
}

use Kind::{Recv, RecvCoroutine, Reserve, Send, SendCoroutine, Sink, Stream};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Poll(usize),
    Drop(usize),
    /// Of a send: by value.
    Cancel(usize),
    TrySend,
    TryRecv,
    Close,
}

enum Waiting<'a> {
    NotYet,
    Recv(Pin<Box<RecvFuture<'a, Message>>>),
    Send(Pin<Box<SendFuture<'a, Message>>>, usize),
    Reserve(Pin<Box<ReserveFuture<'a, Message>>>),
    Permit(Permit<'a, Message>),
    Stream(RecvStreamRef<'a, Message>),
    Sink(SendSinkRef<'a, Message>, SinkStep),
    Coroutine(JoinHandle<()>),
    Gone,
}

/// What a sink is to do next.
#[derive(Clone, Copy)]
enum SinkStep {
    Ready(u8),
    Start(u8),
    Flush(u8, usize),
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

struct Party<'a> {
    kind: Kind,
    waiting: Waiting<'a>,
    woken: Arc<Flag>,
    pending: bool,
}

impl Party<'_> {
    fn is_woken(&self) -> bool {
        self.pending && self.woken.0.load(SeqCst)
    }

    fn receives(&self) -> bool {
        matches!(self.kind, Recv | Stream | RecvCoroutine)
    }

    /// It waits, as far as anybody can see.
    fn waits(&self) -> bool {
        match &self.waiting {
            Waiting::Coroutine(handle) => !handle.is_finished(),
            _ => self.pending,
        }
    }
}

struct World<'a> {
    /// On which coroutines run. It has a budget, which is why the other schedules do without.
    runtime: Option<&'a LocalRuntime>,
    tx: &'a Sender<Message>,
    rx: &'a Receiver<Message>,
    ledger: SharedLedger,
    parties: Vec<Party<'a>>,
    sent: usize,
}

/// The action makes no sense here.
struct Senseless;

impl<'a> World<'a> {
    fn perform(&mut self, action: Action) -> Result<(), Senseless> {
        match action {
            Action::Poll(i) => match &self.parties[i].waiting {
                Waiting::Gone | Waiting::Coroutine(_) => return Err(Senseless),
                _ => self.poll(i),
            },
            Action::Drop(i) => match &self.parties[i].waiting {
                Waiting::Gone | Waiting::NotYet => return Err(Senseless),
                _ => self.drop_party(i),
            },
            Action::Cancel(i) => {
                let Waiting::Send(future, id) = &mut self.parties[i].waiting else { return Err(Senseless) };
                let (back, id) = (future.as_mut().cancel(), *id);
                match back {
                    Some(message) => assert_eq!(message.id, id),
                    None => self.ledger.borrow_mut().accepted.push(id),
                }
                self.drop_party(i);
            }
            Action::TrySend if self.sent == 3 => return Err(Senseless),
            Action::TrySend => {
                self.sent += 1;
                self.try_send();
            }
            Action::TryRecv => {
                if let Ok(message) = self.rx.try_recv() {
                    message.receive();
                }
            }
            Action::Close if !self.tx.close() => return Err(Senseless),
            Action::Close => {}
        }
        self.let_coroutines_run();
        Ok(())
    }

    fn let_coroutines_run(&self) {
        if self.runtime.is_some() {
            yield_now();
            yield_now();
        }
    }

    fn try_send(&mut self) -> bool {
        let message = Message::new(&self.ledger);
        let id = message.id;
        let sent = self.tx.try_send(message).is_ok();
        if sent {
            let mut ledger = self.ledger.borrow_mut();
            ledger.accepted.push(id);
            ledger.in_order.push(id);
        }
        sent
    }

    fn drop_party(&mut self, i: usize) {
        if let Waiting::Coroutine(handle) = &self.parties[i].waiting {
            handle.cancel();
            while !handle.is_finished() {
                yield_now();
            }
        }
        self.parties[i].pending = false;
        self.parties[i].waiting = Waiting::Gone;
    }

    fn go(&self, body: impl FnOnce() + 'static) -> JoinHandle<()> {
        self.runtime.expect("a runtime for coroutines").go(body)
    }

    fn begin(&self, kind: Kind) -> Waiting<'a> {
        let (tx, rx, ledger) = (self.tx, self.rx, &self.ledger);
        match kind {
            Recv => Waiting::Recv(Box::pin(rx.recv_async())),
            Stream => Waiting::Stream(rx.stream()),
            Reserve => Waiting::Reserve(Box::pin(tx.reserve_async())),
            Sink => Waiting::Sink(tx.sink(), SinkStep::Ready(2)),
            Send => {
                let message = Message::new(ledger);
                let id = message.id;
                Waiting::Send(Box::pin(tx.send_async(message)), id)
            }
            RecvCoroutine => {
                let rx = rx.clone();
                Waiting::Coroutine(self.go(move || {
                    if let Ok(message) = rx.recv() {
                        message.receive();
                    }
                }))
            }
            SendCoroutine => {
                let (tx, ledger) = (tx.clone(), ledger.clone());
                Waiting::Coroutine(self.go(move || {
                    let message = Message::new(&ledger);
                    let id = message.id;
                    if tx.send(message).is_ok() {
                        ledger.borrow_mut().accepted.push(id);
                    }
                }))
            }
        }
    }

    fn poll(&mut self, i: usize) {
        if matches!(self.parties[i].waiting, Waiting::NotYet) {
            self.parties[i].waiting = self.begin(self.parties[i].kind);
        }
        let ledger = self.ledger.clone();
        let party = &mut self.parties[i];
        party.woken.0.store(false, SeqCst);
        let waker = Waker::from(party.woken.clone());
        let mut cx = Context::from_waker(&waker);
        let next = match &mut party.waiting {
            Waiting::Recv(future) => future.as_mut().poll(&mut cx).map(|received| {
                received.into_iter().for_each(Message::receive);
                Waiting::Gone
            }),
            Waiting::Stream(stream) => match stream.poll_next_unpin(&mut cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => Poll::Ready(Waiting::Gone),
                Poll::Ready(Some(message)) => {
                    message.receive();
                    party.pending = false;
                    return;
                }
            },
            Waiting::Send(future, id) => future.as_mut().poll(&mut cx).map(|sent| {
                match sent {
                    Ok(()) => ledger.borrow_mut().accepted.push(*id),
                    Err(error) => assert_eq!(error.0.id, *id),
                }
                Waiting::Gone
            }),
            Waiting::Reserve(future) => {
                future.as_mut().poll(&mut cx).map(|permit| permit.map_or(Waiting::Gone, Waiting::Permit))
            }
            Waiting::Permit(_) => {
                // On a rendezvous its send would wait.
                if let Waiting::Permit(permit) = std::mem::replace(&mut party.waiting, Waiting::Gone)
                    && self.tx.capacity() != Some(0)
                {
                    let message = Message::new(&ledger);
                    let id = message.id;
                    if permit.send(message).is_ok() {
                        ledger.borrow_mut().accepted.push(id);
                    }
                }
                party.pending = false;
                return;
            }
            Waiting::Sink(sink, step) => match poll_sink(sink, *step, &ledger, &mut cx) {
                Poll::Ready(Some(next)) => {
                    *step = next;
                    party.pending = false;
                    return;
                }
                Poll::Ready(None) => Poll::Ready(Waiting::Gone),
                Poll::Pending => Poll::Pending,
            },
            // It has just been started.
            Waiting::Coroutine(_) => return,
            Waiting::NotYet | Waiting::Gone => unreachable!("it was begun"),
        };
        party.pending = next.is_pending();
        if let Poll::Ready(next) = next {
            party.waiting = next;
        }
    }

    /// Polls who was woken, until nobody is.
    fn settle(&mut self) {
        loop {
            self.let_coroutines_run();
            let Some(i) = self.parties.iter().position(Party::is_woken) else { return };
            self.poll(i);
        }
    }

    /// Whoever waits has a reason to.
    fn check_waiting(&mut self) {
        let (receiver, sender) = (self.waits(true), self.waits(false));
        let closed = self.tx.is_closed();
        assert!(!closed || !(receiver || sender), "the end reached not everybody");
        assert!(!sender || self.tx.is_full(), "a sender waits though there is room");
        assert!(!(sender && receiver && self.tx.capacity() == Some(0)), "they did not meet");
        assert!(!receiver || self.rx.is_empty(), "a receiver waits though there is a message");
        // A poll that nobody asked for changes nothing.
        for i in 0..self.parties.len() {
            if self.parties[i].pending {
                self.poll(i);
                assert!(self.parties[i].pending, "a wake-up of {i} was lost");
            }
        }
    }

    fn waits(&self, receives: bool) -> bool {
        self.parties.iter().any(|party| party.receives() == receives && party.waits())
    }

    /// Everybody goes, and the channel is as new.
    fn check_places(&mut self) {
        for i in 0..self.parties.len() {
            self.drop_party(i);
        }
        self.drain();
        if let (Some(capacity), false) = (self.tx.capacity(), self.tx.is_closed()) {
            (0..capacity).for_each(|_| assert!(self.try_send(), "a place was lost"));
            assert!(!self.try_send(), "a place too many");
            self.drain();
        }
    }

    fn drain(&self) {
        while let Ok(message) = self.rx.try_recv() {
            message.receive();
        }
    }
}

/// One step of a sink that sends some messages. `None`: it has ended.
fn poll_sink(
    sink: &mut SendSinkRef<'_, Message>,
    step: SinkStep,
    ledger: &SharedLedger,
    cx: &mut Context<'_>,
) -> Poll<Option<SinkStep>> {
    match step {
        SinkStep::Ready(0) => Poll::Ready(None),
        SinkStep::Ready(left) => {
            sink.poll_ready_unpin(cx).map(|ready| ready.is_ok().then_some(SinkStep::Start(left - 1)))
        }
        SinkStep::Start(left) => {
            let message = Message::new(ledger);
            let id = message.id;
            match sink.start_send_unpin(message) {
                Ok(()) => Poll::Ready(Some(SinkStep::Flush(left, id))),
                Err(error) => {
                    assert_eq!(error.into_inner().map(|message| message.id), Some(id));
                    Poll::Ready(None)
                }
            }
        }
        SinkStep::Flush(left, id) => sink.poll_flush_unpin(cx).map(|flushed| match flushed {
            Ok(()) => {
                ledger.borrow_mut().accepted.push(id);
                Some(SinkStep::Ready(left))
            }
            Err(error) => {
                assert_eq!(error.into_inner().map(|message| message.id), Some(id));
                None
            }
        }),
    }
}

/// Runs a schedule. False: its last action made no sense.
fn run(runtime: Option<&LocalRuntime>, kinds: &[Kind], capacity: Option<usize>, schedule: &[Action]) -> bool {
    let (tx, rx) = match capacity {
        Some(capacity) => channel::bounded(capacity),
        None => channel::unbounded(),
    };
    let ledger = SharedLedger::default();
    let parties = kinds.iter().map(|kind| Party {
        kind: *kind,
        waiting: Waiting::NotYet,
        woken: Arc::new(Flag(AtomicBool::new(false))),
        pending: false,
    });
    let mut world =
        World { runtime, tx: &tx, rx: &rx, ledger: ledger.clone(), parties: parties.collect(), sent: 0 };
    let made_sense = schedule.iter().all(|action| world.perform(*action).is_ok());
    if made_sense {
        world.settle();
        world.check_waiting();
    }
    world.check_places();
    drop(world);
    drop((tx, rx));
    check(&ledger.borrow());
    made_sense
}

fn check(ledger: &Ledger) {
    assert!(ledger.dropped.iter().all(|times| *times == 1), "dropped: {:?}", ledger.dropped);
    let mut received = ledger.received.clone();
    received.sort_unstable();
    received.dedup();
    assert_eq!(received.len(), ledger.received.len(), "duplicated: {:?}", ledger.received);
    for id in &ledger.accepted {
        assert!(received.contains(id), "message {id} was lost; received: {received:?}");
    }
    let of_order: Vec<_> = ledger.received.iter().filter(|id| ledger.in_order.contains(id)).collect();
    assert!(of_order.is_sorted(), "out of order: {:?}", ledger.received);
}

/// Prints the schedule that failed.
struct Report<'a>(&'a [Kind], Option<usize>, &'a [Action]);

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("parties {:?}, capacity {:?}, schedule {:?}", self.0, self.1, self.2);
        }
    }
}

fn explore(
    runtime: Option<&LocalRuntime>,
    kinds: &[Kind],
    capacity: Option<usize>,
    schedule: &mut Vec<Action>,
    depth: usize,
) -> u64 {
    let of_parties = (0..kinds.len()).flat_map(|i| [Action::Poll(i), Action::Drop(i), Action::Cancel(i)]);
    let mut runs = 0;
    for action in of_parties.chain([Action::TrySend, Action::TryRecv, Action::Close]) {
        schedule.push(action);
        let made_sense = {
            let _report = Report(kinds, capacity, schedule);
            run(runtime, kinds, capacity, schedule)
        };
        runs += 1;
        if made_sense && depth > 1 {
            runs += explore(runtime, kinds, capacity, schedule, depth - 1);
        }
        schedule.pop();
    }
    runs
}

/// All schedules up to that length, on every kind of channel.
fn everything(kinds: &[Kind], depth: usize) {
    let explore_all = |runtime: Option<&LocalRuntime>| {
        for capacity in [Some(0), Some(1), Some(2), None] {
            let runs = explore(runtime, kinds, capacity, &mut Vec::new(), depth);
            println!("{kinds:?}, capacity {capacity:?}: {runs} schedules");
        }
    };
    if kinds.iter().any(|kind| matches!(kind, RecvCoroutine | SendCoroutine)) {
        let runtime = LocalRuntime::new().unwrap();
        runtime.run(|| explore_all(Some(&runtime)));
    } else {
        explore_all(None);
    }
}

#[test]
fn receives() {
    everything(&[Recv, Recv], 6);
    everything(&[Recv, Recv, Recv], 5);
}

#[test]
fn sends() {
    everything(&[Send, Send], 6);
    everything(&[Send, Send, Send], 5);
}

#[test]
fn sends_and_receives() {
    everything(&[Send, Recv], 6);
    everything(&[Send, Send, Recv], 5);
    everything(&[Send, Recv, Recv], 5);
}

#[test]
fn permits() {
    everything(&[Reserve, Reserve], 6);
    everything(&[Reserve, Send, Recv], 5);
}

#[test]
fn streams() {
    everything(&[Stream, Stream], 6);
    everything(&[Stream, Recv, Send], 5);
}

#[test]
fn sinks() {
    everything(&[Sink, Sink], 6);
    everything(&[Sink, Stream], 6);
    everything(&[Sink, Send, Recv], 5);
    everything(&[Sink, Reserve, Recv], 5);
}

#[test]
fn futures_beside_coroutines() {
    everything(&[Recv, RecvCoroutine], 5);
    everything(&[RecvCoroutine, Send, Recv], 5);
    everything(&[SendCoroutine, Send, Recv], 5);
    everything(&[RecvCoroutine, Reserve, Send], 5);
    everything(&[SendCoroutine, RecvCoroutine, Stream], 4);
    everything(&[SendCoroutine, RecvCoroutine, Sink], 4);
}
