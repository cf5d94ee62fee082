//! Models of select.
//!
//! A chooser is a frame (`select!`) or a future (`select_async!`), which drive the same engine. As with the channel's models, every
//! wait ends or is reported as a deadlock. All are biased: the checker must be able to repeat a run.

mod loom_choice;
mod loom_facing;
mod loom_polled;
mod loom_withdrawal;

use super::cases::{Case, Outcome, Receive, Received as Arrived, SendCase, vacant};
use super::engine::{Cases, Engine};
use crate::channel::{Receiver, SendError, Sender};
use crate::model::{attempt_and_withdraw, wait_for};
use std::future::poll_fn;
use std::pin::{Pin, pin};

/// How a chooser waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Party {
    Frame,
    Future,
}

use Party::{Frame, Future};

/// How long.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Until a case happens.
    Endless,
    /// It enrols, and gives up.
    AMoment,
}

use Patience::{AMoment, Endless};

/// What a choice of a receive and something else gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chosen {
    /// From the first or second channel; `None`: the end.
    Received(usize, Option<u8>),
    /// Into the first or second.
    Sent(usize),
    /// The receiver has gone, or the channel is closed.
    Refused(usize, u8),
    Nothing,
}

use Chosen::{Nothing, Received, Refused, Sent};

/// The index of the case that has happened.
fn choose<C: Cases, const N: usize>(cases: C, patience: Patience) -> Option<usize> {
    let mut engine = Engine::<C, [u32; N]>::new(cases, true);
    match patience {
        Endless => Some(wait_for(poll_fn(|cx| engine.poll(cx)))),
        AMoment => attempt_and_withdraw(&mut engine),
    }
}

fn pair<A: Case, B: Case>(first: Pin<&mut A>, second: Pin<&mut B>, patience: Patience) -> Option<usize> {
    choose::<_, 2>((first, (second, ())), patience)
}

fn received(index: usize, slot: &mut Arrived<u8>) -> Chosen {
    Received(index, slot.take().ok())
}

fn sent(index: usize, result: Result<(), SendError<u8>>) -> Chosen {
    match result {
        Ok(()) => Sent(index),
        Err(SendError(message)) => Refused(index, message),
    }
}

fn receive_or_receive(
    (first, second): (&Receiver<u8>, &Receiver<u8>),
    party: Party,
    patience: Patience,
) -> Chosen {
    let (mut slot, mut other) = (vacant(), vacant());
    let chosen = {
        let mut first = pin!(Receive::case(Some(first), &mut slot, party == Frame));
        let mut second = pin!(Receive::case(Some(second), &mut other, party == Frame));
        pair(first.as_mut(), second.as_mut(), patience)
    };
    match chosen {
        Some(0) => received(0, &mut slot),
        Some(_) => received(1, &mut other),
        None => Nothing,
    }
}

/// A receive and a send, in one order or the other. The message of a send that has not happened is still there: asserted.
fn receive_and_send(
    receiver: &Receiver<u8>,
    sender: &Sender<u8>,
    message: u8,
    party: Party,
    patience: Patience,
    send_first: bool,
) -> Chosen {
    let (mut slot, mut other) = (vacant(), vacant());
    let mut lender = Some(message);
    let (at, of) = if send_first { (1, 0) } else { (0, 1) };
    let chosen = {
        let mut receive = pin!(Receive::case(Some(receiver), &mut slot, party == Frame));
        let mut send = pin!(SendCase::borrowed(sender, &mut lender, &mut other, true, party == Frame));
        if send_first {
            pair(send.as_mut(), receive.as_mut(), patience)
        } else {
            pair(receive.as_mut(), send.as_mut(), patience)
        }
    };
    if chosen == Some(of) {
        assert_eq!(lender, None);
        return sent(of, other.take());
    }
    assert_eq!(lender, Some(message));
    if chosen == Some(at) { received(at, &mut slot) } else { Nothing }
}

fn receive_or_send(
    (receiver, sender): (&Receiver<u8>, &Sender<u8>),
    message: u8,
    party: Party,
    patience: Patience,
) -> Chosen {
    receive_and_send(receiver, sender, message, party, patience, false)
}

fn send_or_receive(
    (sender, receiver): (&Sender<u8>, &Receiver<u8>),
    message: u8,
    party: Party,
    patience: Patience,
) -> Chosen {
    receive_and_send(receiver, sender, message, party, patience, true)
}

/// The messages of sends that have not happened are still there: asserted.
fn send_or_send(
    (first, second): (&Sender<u8>, &Sender<u8>),
    messages: [u8; 2],
    party: Party,
    patience: Patience,
) -> Chosen {
    let (mut slot, mut other) = (vacant(), vacant());
    let [mut lender, mut another] = messages.map(Some);
    let chosen = {
        let mut first = pin!(SendCase::borrowed(first, &mut lender, &mut slot, true, party == Frame));
        let mut second = pin!(SendCase::borrowed(second, &mut another, &mut other, true, party == Frame));
        pair(first.as_mut(), second.as_mut(), patience)
    };
    let left = [(0, lender), (1, another)].map(|(index, left)| (chosen == Some(index), left));
    assert_eq!(left.map(|(happened, left)| happened || left.is_some()), [true; 2]);
    match chosen {
        Some(0) => sent(0, slot.take()),
        Some(_) => sent(1, other.take()),
        None => Nothing,
    }
}

/// A chooser of one case: a plain operation, for the other side.
fn receive(receiver: &Receiver<u8>, party: Party, patience: Patience) -> Option<u8> {
    let mut slot: Arrived<u8> = vacant();
    {
        let mut case = pin!(Receive::case(Some(receiver), &mut slot, party == Frame));
        choose::<_, 1>((case.as_mut(), ()), patience)?;
    }
    slot.take().ok()
}

/// As `receive`; true: sent.
fn send(sender: &Sender<u8>, message: u8, party: Party, patience: Patience) -> bool {
    let mut slot = vacant();
    let happened = {
        let mut case = pin!(SendCase::new(sender, message, &mut slot, true, party == Frame));
        choose::<_, 1>((case.as_mut(), ()), patience).is_some()
    };
    happened && slot.take().is_ok()
}

/// Names tests of one model with different arguments.
macro_rules! cases {
    ($($model:ident { $($name:ident($($argument:expr),*);)* })*) => {$(
        mod $model {
            #[allow(unused_imports, reason = "not every family of models needs all of them")]
            use super::super::{Frame, Future};
            $(#[test] fn $name() { super::$model($($argument),*) })*
        }
    )*};
}
use cases;
