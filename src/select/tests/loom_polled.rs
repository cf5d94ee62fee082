//! Selects with a future among their cases: it is polled only while no peer can complete another case.

use super::{Endless, Party, cases, choose, receive, send};
use crate::channel::bounded;
use crate::model::{explore_bounded, explore_calmly};
use crate::primitive::{Mutex, lock};
use crate::select::cases::{Outcome, Receive, Received, SendCase, vacant};
use crate::select::polled::FutureCase;
use loom::sync::Arc;
use loom::thread;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};

cases! {
    a_message_or_a_future {
        frame(Frame, false);
        future(Future, false);
        frame_future_first(Frame, true);
        future_future_first(Future, true);
    }
    a_send_or_a_future {
        frame(Frame, Frame);
        frame_to_future(Frame, Future);
        future(Future, Frame);
        future_to_future(Future, Future);
    }
    a_round_without_a_case_is_followed_by_another {
        receive_frame(Frame, true);
        receive_future(Future, true);
        send_frame(Frame, false);
        send_future(Future, false);
    }
}

/// Something of somebody else's that can be taken once.
#[derive(Default)]
struct Token {
    state: Mutex<(bool, Option<Waker>)>,
}

impl Token {
    fn give(&self) {
        let waker = {
            let mut state = lock(&self.state);
            state.0 = true;
            state.1.take()
        };
        waker.inspect(Waker::wake_by_ref);
    }

    fn is_there(&self) -> bool {
        lock(&self.state).0
    }

    fn taken(&self) -> impl Future<Output = ()> {
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut state = lock(&self.state);
            if std::mem::take(&mut state.0) {
                return Poll::Ready(());
            }
            state.1 = Some(waker);
            Poll::Pending
        })
    }
}

/// The message is received by the select, or afterwards; the token is taken by the select, or left. Three threads: bounded for
/// time.
fn a_message_or_a_future(party: Party, future_first: bool) {
    explore_calmly(2, move || {
        let (sender, receiver) = bounded(0);
        let token = Arc::new(Token::default());
        let sender = thread::spawn(move || assert!(send(&sender, 1, Party::Frame, Endless)));
        let giver = {
            let token = token.clone();
            thread::spawn(move || token.give())
        };
        let (mut slot, mut other): (Received<u8>, _) = (vacant(), vacant());
        let happened = {
            let mut message = pin!(Receive::case(Some(&receiver), &mut slot, party == Party::Frame));
            let mut token = pin!(FutureCase::new(token.taken(), &mut other, true));
            if future_first {
                choose::<_, 2>((token.as_mut(), (message.as_mut(), ())), Endless).map(|index| 1 - index)
            } else {
                choose::<_, 2>((message.as_mut(), (token.as_mut(), ())), Endless)
            }
        };
        let message = (happened == Some(0)).then(|| slot.take().unwrap());
        giver.join().unwrap();
        assert_eq!(token.is_there(), message.is_some());
        assert_eq!(message.or_else(|| receive(&receiver, Party::Frame, Endless)), Some(1));
        sender.join().unwrap();
    });
}

/// The message is taken from the select, or still there; a receiver gets it, or what is sent afterwards. Three threads: bounded
/// for time.
fn a_send_or_a_future(party: Party, peer: Party) {
    explore_calmly(2, move || {
        let (sender, receiver) = bounded(0);
        let token = Arc::new(Token::default());
        let receiver = thread::spawn(move || receive(&receiver, peer, Endless));
        let giver = {
            let token = token.clone();
            thread::spawn(move || token.give())
        };
        let (mut slot, mut other) = (vacant(), vacant());
        let mut lender = Some(1);
        let sent = {
            let mut message =
                pin!(SendCase::borrowed(&sender, &mut lender, &mut slot, true, party == Party::Frame));
            let mut token = pin!(FutureCase::new(token.taken(), &mut other, true));
            choose::<_, 2>((message.as_mut(), (token.as_mut(), ())), Endless) == Some(0)
        };
        assert_eq!(lender, (!sent).then_some(1));
        giver.join().unwrap();
        assert_eq!(token.is_there(), sent);
        assert!(sent || send(&sender, 2, Party::Frame, Endless));
        assert_eq!(receiver.join().unwrap(), Some(if sent { 1 } else { 2 }));
    });
}

/// The select may be woken for nothing, as by a future that is not ready yet: in its next round a peer can complete it.
fn a_round_without_a_case_is_followed_by_another(party: Party, receives: bool) {
    explore_bounded(3, move || {
        let (sender, receiver) = bounded(0);
        let mut never = vacant();
        let mut nothing = pin!(FutureCase::new(pending::<()>(), &mut never, true));
        if receives {
            let sender = thread::spawn(move || assert!(send(&sender, 1, Party::Frame, Endless)));
            let mut slot: Received<u8> = vacant();
            {
                let mut message = pin!(Receive::case(Some(&receiver), &mut slot, party == Party::Frame));
                assert_eq!(choose::<_, 2>((message.as_mut(), (nothing.as_mut(), ())), Endless), Some(0));
            }
            assert_eq!(slot.take(), Ok(1));
            sender.join().unwrap();
        } else {
            let receiver = thread::spawn(move || receive(&receiver, Party::Frame, Endless));
            let mut slot = vacant();
            let mut message = pin!(SendCase::new(&sender, 1, &mut slot, true, party == Party::Frame));
            assert_eq!(choose::<_, 2>((message.as_mut(), (nothing.as_mut(), ())), Endless), Some(0));
            assert_eq!(receiver.join().unwrap(), Some(1));
        }
    });
}
