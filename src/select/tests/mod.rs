//! Models of select.
//!
//! A chooser is a frame (`select!`) or a future (`select_async!`), which drive the same engine. As with the channel's models, every
//! wait ends or is reported as a deadlock. All are biased: the checker must be able to repeat a run.

mod loom_choice;
mod loom_facing;
mod loom_polled;
mod loom_withdrawal;

use super::cases::{Case, Receive, ReceiveCase, SendCase, TakeResult};
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
    let mut engine = Engine::<C, N>::new(cases, true);
    match patience {
        Endless => Some(wait_for(poll_fn(|cx| engine.poll(cx)))),
        AMoment => attempt_and_withdraw(&mut engine),
    }
}

fn pair<A: Case, B: Case>(first: Pin<&mut A>, second: Pin<&mut B>, patience: Patience) -> Option<usize> {
    choose::<_, 2>((first, (second, ())), patience)
}

fn received(index: usize, case: Pin<&mut ReceiveCase<'_, u8>>) -> Chosen {
    Received(index, case.take_result().ok())
}

fn sent(index: usize, case: Pin<&mut SendCase<'_, u8>>) -> Chosen {
    match case.take_result() {
        Ok(()) => Sent(index),
        Err(SendError(message)) => Refused(index, message),
    }
}

fn receive_or_receive(
    (first, second): (&Receiver<u8>, &Receiver<u8>),
    party: Party,
    patience: Patience,
) -> Chosen {
    let mut first = pin!(Receive::case(first, true, party == Frame));
    let mut second = pin!(Receive::case(second, true, party == Frame));
    match pair(first.as_mut(), second.as_mut(), patience) {
        Some(0) => received(0, first),
        Some(_) => received(1, second),
        None => Nothing,
    }
}

/// The message of a send that has not happened is still there: asserted.
fn receive_or_send(
    (receiver, sender): (&Receiver<u8>, &Sender<u8>),
    message: u8,
    party: Party,
    patience: Patience,
) -> Chosen {
    let mut receive = pin!(Receive::case(receiver, true, party == Frame));
    let mut send = pin!(SendCase::new(sender, Some(message), true, party == Frame));
    let chosen = match pair(receive.as_mut(), send.as_mut(), patience) {
        Some(0) => received(0, receive),
        Some(_) => return sent(1, send),
        None => Nothing,
    };
    assert_eq!(send.message(), Some(message));
    chosen
}

/// As `receive_or_send`.
fn send_or_receive(
    (sender, receiver): (&Sender<u8>, &Receiver<u8>),
    message: u8,
    party: Party,
    patience: Patience,
) -> Chosen {
    let mut send = pin!(SendCase::new(sender, Some(message), true, party == Frame));
    let mut receive = pin!(Receive::case(receiver, true, party == Frame));
    let chosen = match pair(send.as_mut(), receive.as_mut(), patience) {
        Some(0) => return sent(0, send),
        Some(_) => received(1, receive),
        None => Nothing,
    };
    assert_eq!(send.message(), Some(message));
    chosen
}

/// The messages of sends that have not happened are still there: asserted.
fn send_or_send(
    (first, second): (&Sender<u8>, &Sender<u8>),
    messages: [u8; 2],
    party: Party,
    patience: Patience,
) -> Chosen {
    let [first, second] = [(first, messages[0]), (second, messages[1])]
        .map(|(sender, message)| SendCase::new(sender, Some(message), true, party == Frame));
    let (mut first, mut second) = (pin!(first), pin!(second));
    match pair(first.as_mut(), second.as_mut(), patience) {
        Some(0) => {
            assert_eq!(second.message(), Some(messages[1]));
            sent(0, first)
        }
        Some(_) => {
            assert_eq!(first.message(), Some(messages[0]));
            sent(1, second)
        }
        None => {
            assert_eq!((first.message(), second.message()), (Some(messages[0]), Some(messages[1])));
            Nothing
        }
    }
}

/// A chooser of one case: a plain operation, for the other side.
fn receive(receiver: &Receiver<u8>, party: Party, patience: Patience) -> Option<u8> {
    let mut case = pin!(Receive::case(receiver, true, party == Frame));
    choose::<_, 1>((case.as_mut(), ()), patience)?;
    case.take_result().ok()
}

/// As `receive`; true: sent.
fn send(sender: &Sender<u8>, message: u8, party: Party, patience: Patience) -> bool {
    let mut case = pin!(SendCase::new(sender, Some(message), true, party == Frame));
    let happened = choose::<_, 1>((case.as_mut(), ()), patience).is_some();
    happened && case.take_result().is_ok()
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
