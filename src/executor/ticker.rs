//! A driver of an executor: takes one task after the other from the queue, and waits when there is none.

#![forbid(unsafe_code)]

use crate::executor::body::{self, Runnable};
use crate::executor::sleepers::{Asleep, Place};
use crate::executor::state::State;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

/// Tasks run between two looks at the future that `run` was called with, and between two turns for the executor around it.
/// Guessed; a few times the runtime's slice, because here a turn is a trip through somebody else's executor.
const SLICE: u32 = 200;

pub(super) struct Ticker {
    state: &'static State,
    place: Place,
}

impl Ticker {
    pub(super) fn new(state: &'static State) -> Self {
        Self { state, place: Place::default() }
    }

    /// Waits for a task that is ready and runs it once.
    pub(super) async fn tick(mut self) {
        let runnable = poll_fn(|cx| self.poll_runnable(cx)).await;
        body::run(runnable);
    }

    /// Runs tasks until `future` is ready.
    pub(super) async fn run<F: Future>(mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            for _ in 0..SLICE {
                match self.poll_runnable(cx) {
                    Poll::Ready(runnable) => body::run(runnable),
                    Poll::Pending => return Poll::Pending,
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    fn poll_runnable(&mut self, cx: &mut Context<'_>) -> Poll<Runnable> {
        loop {
            if let Some(runnable) = self.state.pop() {
                if self.state.sleepers.wake(&mut self.place) {
                    self.state.notify_if_more();
                }
                return Poll::Ready(runnable);
            }
            if self.state.sleepers.sleep(&mut self.place, cx.waker()) == Asleep::Still {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        let _ = self.state.sleepers.wake(&mut self.place);
        // Also when it was awake: it may have been about to go on.
        self.state.notify_if_more();
    }
}
