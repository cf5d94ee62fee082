//! Spans of the `tracing` crate that follow a coroutine across its waits.
//!
//! A subscriber keeps the spans that are entered in a thread-local. A coroutine that waits inside a span would leave it there,
//! and whoever runs next on the worker would log into it. [`follow`] takes the spans away at each suspension and puts them back
//! at each resumption, so that any code under it may enter spans as ever: guards, `in_scope`, `#[instrument]`.
//!
//! | in | write |
//! |---|---|
//! | a coroutine with a span of its own | `go!(in_span(&span, \|\| work()))` |
//! | a coroutine that enters spans here and there | `go! { let _follow = follow(); work() }` |
//! | a future | `spawn(future.instrument(span))`, which is `tracing`'s own, is enough as long as it only awaits |
//! | a future that calls code that waits in Go style | `spawn(follow_async(future.instrument(span)))` |
//!
//! # Invariants
//! - `base`: a guard notes the span that is current when it is made, and never takes away that one or what lies below it: a neighbour
//!   that does not follow may have left it there.
//! - `same-order`: spans are put back in the order in which they were entered, so each guard still finds its own.
//! - `kept-alive`: a span that is away is held by a reference of its own; leaving it does not close it.
//!
//! # Limits
//! The subscriber must know its current span ([`Subscriber::current_span`](tracing::Subscriber::current_span)); that of
//! `tracing-subscriber` does. With one that does not, only the span given to [`in_span`] is carried. Subscribers that count the
//! time that a span is entered for do not count waits. A subscriber set for a scope (`with_default`) belongs to the thread and is
//! not carried: use `set_global_default`.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use aqueduct::wait::{HookGuard, hook};
use pin_project_lite::pin_project;
use tracing::span::Id;
use tracing::{Dispatch, Span, dispatcher};

/// Lets the spans that the calling task enters from now on follow it across its waits, until the guard is dropped.
///
/// Spans that were entered before stay where they are. Off the workers it does nothing: there a wait blocks the thread, and
/// nothing else runs on it.
///
/// # Examples
/// ```
/// use aqueduct_compat::tracing::follow;
///
/// let handle = aqueduct::go!({
///     let _follow = follow();
///     let _span = tracing::info_span!("request", number = 7).entered();
///     aqueduct::yield_now(); // what runs meanwhile is not in the span
///     tracing::info!("still in the span");
/// });
/// handle.join().unwrap();
/// ```
#[track_caller]
#[must_use = "spans no longer follow when the guard is dropped"]
pub fn follow() -> Follow {
    follow_with(None)
}

/// Runs `f` in a span, with this span and those entered in `f` following the task across its waits.
///
/// As `span.in_scope(f)`, which leaves the span behind at the first wait.
///
/// # Cancel safety
/// That of `f`; the span is left as the coroutine unwinds.
///
/// # Examples
/// ```
/// use aqueduct_compat::tracing::in_span;
///
/// let span = tracing::info_span!("request", number = 7);
/// let handle = aqueduct::go!(in_span(&span, || {
///     aqueduct::yield_now();
///     tracing::info!("still in the span");
/// }));
/// handle.join().unwrap();
/// ```
#[track_caller]
pub fn in_span<T>(span: &Span, f: impl FnOnce() -> T) -> T {
    let _follow = follow_with(Some(span.clone()));
    // Left before the hook goes.
    let _entered = span.enter();
    f()
}

/// The future `future`, with the spans that it enters while it is polled or dropped following it across waits in Go style.
///
/// Put it around `tracing`'s own `instrument`. Awaiting needs none of it, and each poll makes a guard, which allocates: only for
/// futures that do wait in Go style.
///
/// # Cancel safety
/// That of `future`.
///
/// # Examples
/// ```
/// use aqueduct_compat::tracing::follow_async;
/// use tracing::Instrument;
///
/// let future = async {
///     aqueduct::yield_now(); // a wait in a poll
///     tracing::info!("still in the span");
/// };
/// aqueduct::spawn(follow_async(future.instrument(tracing::info_span!("request")))).join().unwrap();
/// ```
pub fn follow_async<F: Future>(future: F) -> Following<F> {
    Following { future: Some(future) }
}

/// The guard of [`follow`].
pub struct Follow {
    /// Gone first, so that no callback runs while the rest goes.
    _hook: HookGuard,
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Follow")
    }
}

/// `span`: what to carry under a subscriber that does not know its current span.
#[track_caller]
fn follow_with(span: Option<Span>) -> Follow {
    let carried = Rc::new(RefCell::new(Carried { base: current(), away: Vec::new(), span }));
    let back = carried.clone();
    let hook = hook(move || carried.borrow_mut().take_away(), move || back.borrow_mut().put_back());
    Follow { _hook: hook }
}

/// What one guard carries over a wait.
struct Carried {
    /// The span that was current when the guard was made.
    base: Option<Id>,
    /// Innermost first. Empty but during a wait.
    away: Vec<Away>,
    span: Option<Span>,
}

/// A span that has been left for the time of a wait, and is held meanwhile.
struct Away {
    id: Id,
    dispatch: Dispatch,
}

impl Carried {
    fn take_away(&mut self) {
        // Cloned out: a subscriber closes a span through `get_default`, which does nothing inside itself.
        let dispatch = dispatcher::get_default(Dispatch::clone);
        if !dispatch.current_span().is_known() {
            self.leave_own();
            return;
        }
        while let Some(id) = dispatch.current_span().id()
            && self.base.as_ref() != Some(id)
        {
            self.away.push(Away::leave(id, &dispatch));
        }
    }

    fn leave_own(&mut self) {
        if let Some(span) = &self.span {
            span.with_subscriber(|(id, dispatch)| self.away.push(Away::leave(id, dispatch)));
        }
    }

    fn put_back(&mut self) {
        while let Some(away) = self.away.pop() {
            away.dispatch.enter(&away.id);
        }
    }
}

impl Away {
    fn leave(id: &Id, dispatch: &Dispatch) -> Self {
        let id = dispatch.clone_span(id);
        dispatch.exit(&id);
        Self { id, dispatch: dispatch.clone() }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.dispatch.try_close(self.id.clone());
    }
}

fn current() -> Option<Id> {
    dispatcher::get_default(|dispatch| dispatch.current_span().id().cloned())
}

pin_project! {
    /// The future of [`follow_async`].
    #[must_use = "futures do nothing unless awaited, or waited for with `.wait()`"]
    pub struct Following<F> {
        // None: being dropped.
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Following<F> {
        fn drop(this: Pin<&mut Self>) {
            // A destructor may wait too.
            let _follow = follow();
            this.project().future.set(None);
        }
    }
}

impl<F: Future> Future for Following<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _follow = follow();
        let future = self.project().future.as_pin_mut().expect("present until dropped");
        future.poll(cx)
    }
}

impl<F> fmt::Debug for Following<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").finish_non_exhaustive()
    }
}
