//! A select over any number of cases.

use crate::channel::SendError;
use crate::select::cases::{Case, Outcome, Patience, Receive, Send, SendCase, vacant};
use crate::select::engine::{Cases, Engine};
use crate::select::polled::FutureCase;
use crate::time::deadline_after;
use crate::wait::{committed, poll_budget, yield_if_spent};
use std::fmt;
use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Waker, ready};
use std::time::{Duration, Instant};

/// A select whose cases are added one by one, each with what to do when it happens.
///
/// It follows the rules of [`select!`](crate::select!), but it allocates: for each case, and for their orders.
///
/// # Examples
/// ```
/// use aqueduct::{channel, select::Select};
///
/// let channels: Vec<_> = (0..10).map(|_| channel::bounded(1)).collect();
/// channels[7].0.send("hello").unwrap();
/// let mut select = Select::new();
/// for (index, (_, rx)) in channels.iter().enumerate() {
///     select = select.recv(rx, move |message| (index, message));
/// }
/// assert_eq!(select.wait(), (7, Ok("hello")));
/// ```
#[must_use = "a select does nothing until it is waited for"]
pub struct Select<'a, R> {
    cases: Vec<Pin<Box<dyn Handled<R> + 'a>>>,
    biased: bool,
}

/// A case with its handler.
trait Handled<R> {
    fn as_case(self: Pin<&mut Self>) -> Pin<&mut dyn Case>;

    fn handle(self: Pin<&mut Self>) -> R;
}

impl<'a, R> Default for Select<'a, R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, R> Select<'a, R> {
    /// A select without cases, which would wait for ever.
    pub fn new() -> Self {
        Self { cases: Vec::new(), biased: false }
    }

    /// Of several cases that can happen the first one added is chosen, instead of one at random.
    pub fn biased(mut self) -> Self {
        self.biased = true;
        self
    }

    /// Adds a receive; `source` is a [`Receiver`](crate::channel::Receiver), a timer of [`time`](crate::time), a
    /// [`CancellationToken`](crate::sync::CancellationToken), or an `Option` of these.
    pub fn recv<S: Receive + ?Sized>(self, source: &'a S, then: impl FnOnce(S::Output) -> R + 'a) -> Self
    where
        R: 'a,
    {
        self.push(|slot| S::case(Some(source), slot, true), then)
    }

    /// Adds a send.
    pub fn send<S: Send + ?Sized>(
        self,
        sink: &'a S,
        message: S::Message,
        then: impl FnOnce(Result<(), SendError<S::Message>>) -> R + 'a,
    ) -> Self
    where
        R: 'a,
    {
        self.push(|slot| SendCase::new(sink, message, slot, true, true), then)
    }

    /// Adds a future.
    pub fn future<F: IntoFuture>(self, future: F, then: impl FnOnce(F::Output) -> R + 'a) -> Self
    where
        F::IntoFuture: 'a,
        F::Output: 'a,
        R: 'a,
    {
        self.push(|slot| FutureCase::new(future.into_future(), slot, true), then)
    }

    fn push<C, S>(mut self, case: impl FnOnce(&'a mut S) -> C, then: impl FnOnce(S::Output) -> R + 'a) -> Self
    where
        C: Case + 'a,
        S: Outcome + 'a,
        R: 'a,
    {
        let mut slot = OwnSlot::new();
        // SAFETY: the slot is the case's alone until that is dropped; `CaseThen` drops it first.
        let case = case(unsafe { slot.0.as_mut() });
        self.cases.push(Box::pin(CaseThen { case: Some(case), slot, then: Some(then) }));
        self
    }

    /// Waits for one of the cases and returns what its handler returns.
    ///
    /// # Blocking
    /// # Cancel safety
    /// As [`select!`](crate::select!).
    ///
    /// # Panics
    /// Without cases.
    #[track_caller]
    pub fn wait(self) -> R {
        match self.wait_at_most(None) {
            Some(result) => result,
            None => unreachable!("there is no deadline"),
        }
    }

    /// As [`wait`](Self::wait), for at most so long. `None`: no case has happened; without cases none does.
    #[track_caller]
    pub fn wait_timeout(self, timeout: Duration) -> Option<R> {
        self.wait_at_most(Some(deadline_after(timeout)))
    }

    /// As [`wait`](Self::wait), until `deadline` at the latest. `None`: no case has happened; without cases none does.
    #[track_caller]
    pub fn wait_deadline(self, deadline: Instant) -> Option<R> {
        self.wait_at_most(Some(deadline))
    }

    #[track_caller]
    fn wait_at_most(mut self, deadline: Option<Instant>) -> Option<R> {
        let ends = deadline.is_some() || !self.cases.is_empty();
        assert!(ends, "a Select without cases would wait for ever");
        yield_if_spent();
        let index = {
            let mut engine = Engine::<_, Vec<u32>>::new(Listed(&mut self.cases), self.biased);
            committed::complete(&mut engine, deadline).ok()?
        };
        Some(self.cases[index].as_mut().handle())
    }

    /// The future form of [`wait`](Self::wait). Handlers need not be `Send`, so neither is the future: for one that is spawned there is
    /// [`select_async!`](crate::select_async!).
    ///
    /// # Cancel safety
    /// As [`select_async!`](crate::select_async!); no handler is called.
    ///
    /// Without cases it is never ready, and does not panic as `wait` does: a [`timeout`](crate::time::timeout()) around it may
    /// be meant to end it.
    ///
    /// # Examples
    /// ```
    /// use aqueduct::{Wait, channel, select::Select};
    ///
    /// let (tx, rx) = channel::bounded(1);
    /// let select = async { Select::new().recv(&rx, |message| message).wait_async().await };
    /// tx.send(3).unwrap();
    /// assert_eq!(select.wait(), Ok(3));
    /// ```
    pub async fn wait_async(mut self) -> R {
        for case in &mut self.cases {
            case.as_mut().as_case().make_revocable();
        }
        let index = {
            let mut engine = Engine::<_, Vec<u32>>::new(Listed(&mut self.cases), self.biased);
            poll_fn(|cx| {
                ready!(poll_budget(cx));
                engine.poll(cx)
            })
            .await
        };
        self.cases[index].as_mut().handle()
    }

    /// What can happen at once, without waiting. `None`: nothing.
    pub fn try_wait(mut self) -> Option<R> {
        let index = {
            let mut engine = Engine::<_, Vec<u32>>::new(Listed(&mut self.cases), self.biased);
            engine.look(&mut Context::from_waker(Waker::noop()), Patience::Leaves)?
        };
        Some(self.cases[index].as_mut().handle())
    }
}

/// The engine's view of the boxed cases.
struct Listed<'s, 'a, R>(&'s mut Vec<Pin<Box<dyn Handled<R> + 'a>>>);

impl<R> Cases for Listed<'_, '_, R> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn get(&mut self, index: usize) -> Pin<&mut dyn Case> {
        self.0[index].as_mut().as_case()
    }
}

/// A slot at an address of its own, which a case borrows. (A `Box` may not be moved while its content is borrowed.)
struct OwnSlot<S>(NonNull<S>);

impl<S: Outcome> OwnSlot<S> {
    fn new() -> Self {
        Self(NonNull::from(Box::leak(Box::new(vacant()))))
    }
}

impl<S> Drop for OwnSlot<S> {
    fn drop(&mut self) {
        // SAFETY: it was a box; the case that borrowed it is gone.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// A case and its handler. The order of the fields is that of their drops: the case borrows the slot.
struct CaseThen<C, S, F> {
    case: Option<C>,
    slot: OwnSlot<S>,
    then: Option<F>,
}

impl<R, C, S, F> Handled<R> for CaseThen<C, S, F>
where
    C: Case,
    S: Outcome,
    F: FnOnce(S::Output) -> R,
{
    fn as_case(self: Pin<&mut Self>) -> Pin<&mut dyn Case> {
        // SAFETY: a structural projection; nothing is moved out.
        let case = unsafe { self.map_unchecked_mut(|this| &mut this.case) };
        case.as_pin_mut().expect("a select is waited for once")
    }

    fn handle(self: Pin<&mut Self>) -> R {
        // SAFETY: `case` is pinned structurally, and dropped in place; `slot` and `then` are not.
        let this = unsafe { self.get_unchecked_mut() };
        this.case = None;
        let then = this.then.take().expect("a select is waited for once");
        // SAFETY: the case, which had it, is gone.
        then(unsafe { this.slot.0.as_mut() }.take())
    }
}

impl<R> fmt::Debug for Select<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("cases", &self.cases.len()).field("biased", &self.biased).finish()
    }
}
