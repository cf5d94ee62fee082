//! Choosing among several things that may happen: the machinery of [`select!`](crate::select!) and
//! [`select_async!`](crate::select_async!), and [`Select`] for a number of cases that is not known beforehand.

mod cases;
mod dynamic;
mod engine;
mod macros;
mod polled;
#[cfg(all(test, loom))]
mod tests;

#[doc(hidden)]
pub use cases::{Case, CaseKind, Outcome, ReceiveCase, Received, SendCase, Sent, vacant};
pub use cases::{Receive, Send};
pub use dynamic::Select;
#[doc(hidden)]
pub use engine::Cases;
pub(crate) use polled::Alarm;
#[doc(hidden)]
pub use polled::FutureCase;
pub use polled::TimerCase;

use crate::wait::{committed, poll_budget, yield_if_spent};
use cases::Patience;
use engine::Engine;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// Waits for one of the cases; its index.
#[doc(hidden)]
#[track_caller]
pub fn wait<C: Cases, const N: usize>(cases: C, biased: bool) -> usize {
    yield_if_spent();
    let mut engine = Engine::<C, [u32; N]>::new(cases, biased);
    match committed::complete(&mut engine, None) {
        Ok(index) => index,
        Err(committed::DeadlinePassed) => unreachable!("there is no deadline"),
    }
}

/// As `wait`, as a future.
#[doc(hidden)]
pub async fn wait_async<C: Cases, const N: usize>(cases: C, biased: bool) -> usize {
    let mut engine = Engine::<C, [u32; N]>::new(cases, biased);
    poll_fn(|cx| match poll_budget(cx) {
        Poll::Ready(()) => engine.poll(cx),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// The index of a case that can happen at once; none: as many as there are.
#[doc(hidden)]
pub fn look<C: Cases, const N: usize>(cases: C, biased: bool) -> usize {
    let mut engine = Engine::<C, [u32; N]>::new(cases, biased);
    engine.look(&mut Context::from_waker(Waker::noop()), Patience::Leaves).unwrap_or(N)
}
