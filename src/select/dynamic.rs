//! A select over any number of cases.

use crate::channel::SendError;
use crate::select::cases::{Case, FutureCase, Receive, Send, SendCase, TakeResult};
use crate::select::engine::{Cases, Engine};
use crate::time::deadline_after;
use crate::wait::committed;
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// The most cases of one `Select`.
const MAX: usize = 64;

/// A select whose cases are added one by one, each with what to do when it happens.
///
/// It follows the rules of [`select!`](crate::select!), but it allocates: a box for each case.
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

    /// Adds a receive; `source` is a [`Receiver`](crate::channel::Receiver), a timer of [`time`](crate::time), or an `Option`.
    ///
    /// # Panics
    /// When there are 64 cases already.
    #[track_caller]
    pub fn recv<S: Receive + ?Sized>(self, source: &'a S, then: impl FnOnce(S::Output) -> R + 'a) -> Self
    where
        R: 'a,
    {
        self.push(source.case(true, true), then)
    }

    /// Adds a send.
    ///
    /// # Panics
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn send<S: Send + ?Sized>(
        self,
        sink: &'a S,
        message: S::Message,
        then: impl FnOnce(Result<(), SendError<S::Message>>) -> R + 'a,
    ) -> Self
    where
        R: 'a,
    {
        self.push(SendCase::new(sink, Some(message), true, true), then)
    }

    /// Adds a future.
    ///
    /// # Panics
    /// As [`recv`](Self::recv).
    #[track_caller]
    pub fn future<F: IntoFuture>(self, future: F, then: impl FnOnce(F::Output) -> R + 'a) -> Self
    where
        F::IntoFuture: 'a,
        F::Output: 'a,
        R: 'a,
    {
        self.push(FutureCase::new(future.into_future(), true), then)
    }

    #[track_caller]
    fn push<C, O>(mut self, case: C, then: impl FnOnce(O) -> R + 'a) -> Self
    where
        C: Case + TakeResult<O> + 'a,
        O: 'a,
        R: 'a,
    {
        assert!(
            self.cases.len() < MAX,
            "a Select has at most {MAX} cases: join channels, or use one of larger messages"
        );
        self.cases.push(Box::pin(CaseThen { case, then: Some(then), output: PhantomData }));
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

    /// As [`wait`](Self::wait), for at most so long. `None`: no case has happened.
    #[track_caller]
    pub fn wait_timeout(self, timeout: Duration) -> Option<R> {
        self.wait_at_most(Some(deadline_after(timeout)))
    }

    /// As [`wait`](Self::wait), until `deadline` at the latest. `None`: no case has happened.
    #[track_caller]
    pub fn wait_deadline(self, deadline: Instant) -> Option<R> {
        self.wait_at_most(Some(deadline))
    }

    #[track_caller]
    fn wait_at_most(mut self, deadline: Option<Instant>) -> Option<R> {
        assert!(!self.cases.is_empty(), "a Select without cases would wait for ever");
        let index = {
            let mut engine = Engine::<_, MAX>::new(Listed(&mut self.cases), self.biased);
            committed::complete(&mut engine, deadline).ok()?
        };
        Some(self.cases[index].as_mut().handle())
    }

    /// What can happen at once, without waiting. `None`: nothing.
    pub fn try_wait(mut self) -> Option<R> {
        let index = {
            let mut engine = Engine::<_, MAX>::new(Listed(&mut self.cases), self.biased);
            engine.look(&mut Context::from_waker(Waker::noop()))?
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

/// A case and its handler.
struct CaseThen<C, O, F> {
    case: C,
    then: Option<F>,
    output: PhantomData<fn() -> O>,
}

impl<R, C, O, F> Handled<R> for CaseThen<C, O, F>
where
    C: Case + TakeResult<O>,
    F: FnOnce(O) -> R,
{
    fn as_case(self: Pin<&mut Self>) -> Pin<&mut dyn Case> {
        // SAFETY: a structural projection; nothing is moved out.
        unsafe { self.map_unchecked_mut(|this| &mut this.case) }
    }

    fn handle(self: Pin<&mut Self>) -> R {
        // SAFETY: `case` is pinned structurally, `then` is not.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let case = unsafe { Pin::new_unchecked(&mut this.case) };
        let then = this.then.take().expect("a select is waited for once");
        then(case.take_result())
    }
}

impl<R> fmt::Debug for Select<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("cases", &self.cases.len()).field("biased", &self.biased).finish()
    }
}
