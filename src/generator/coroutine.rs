//! A coroutine that is resumed and suspended with values.

use crate::coroutine::{self as switch, Class, Extent, Resumed};
use crate::runtime::builder::check_stack_size;
use crate::runtime::current;
use crate::task;
use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::thread;

/// A body that is suspended and resumed with values: `Input` goes in with each resumption, `Yield` comes out with each suspension,
/// and `Return` at the end.
///
/// It runs on a stack of its own, with the address space of a coroutine started by [`go`](fn@crate::go) by default. Resuming and
/// suspending cost a few nanoseconds each. It may borrow; it stays on its thread, and belongs to the task that resumed it first.
///
/// Dropped while it is suspended it is unwound, which runs the destructors in its frames; where it cannot be (dropped in another
/// task, under `panic = "abort"`, or when it goes on 16 times) it is leaked, with what its frames own. A destructor that panics
/// there aborts the process, as in any unwinding.
///
/// # Examples
/// A running mean:
/// ```
/// use aqueduct::generator::{Coroutine, Step};
///
/// let mut mean = Coroutine::new(|suspender, first: f64| {
///     let (mut sum, mut count) = (first, 1.0);
///     while count < 3.0 {
///         sum += suspender.suspend(sum / count);
///         count += 1.0;
///     }
///     sum
/// });
/// assert_eq!(mean.resume(3.0), Step::Suspended(3.0));
/// assert_eq!(mean.resume(5.0), Step::Suspended(4.0));
/// assert_eq!(mean.resume(1.0), Step::Finished(9.0));
/// ```
/// It does not go to another thread:
/// ```compile_fail,E0277
/// # use aqueduct::generator::Coroutine;
/// let mut coroutine = Coroutine::new(|_, ()| ());
/// std::thread::spawn(move || { coroutine.resume(()); });
/// ```
/// What it borrows must outlive it:
/// ```compile_fail,E0597
/// # use aqueduct::generator::Coroutine;
/// let mut coroutine = {
///     let local = 1;
///     Coroutine::new(|_, ()| println!("{local}"))
/// };
/// coroutine.resume(());
/// ```
pub struct Coroutine<'a, Input, Yield, Return> {
    inner: switch::Coroutine,
    /// Its body borrows for `'a`, and is erased.
    exchange: Rc<Exchange<Input, Yield>>,
    result: Rc<Cell<Option<Return>>>,
    extent: Extent,
    /// The task that resumed it first, once it has been: `Some(None)` off the workers.
    owner: Option<Option<u64>>,
    finished: bool,
    body: std::marker::PhantomData<Box<dyn FnOnce(Input) -> Return + 'a>>,
}

/// What passes between a body and whoever resumes it.
struct Exchange<Input, Yield> {
    input: Cell<Option<Input>>,
    yielded: Cell<Option<Yield>>,
    thrown: Cell<Option<Box<dyn Any + Send>>>,
    /// The next suspension that returns unwinds instead.
    dropping: Cell<bool>,
    /// Whoever resumed it was unwinding already.
    panicking: Cell<bool>,
    /// In how many waits whoever resumed it is.
    waits: Cell<u16>,
}

/// What a resumption came back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<Yield, Return> {
    /// The body has suspended itself, with this value.
    Suspended(Yield),
    /// The body has returned this value, and is not to be resumed.
    Finished(Return),
}

/// The payload that a dropped coroutine unwinds with.
struct Dropped;

/// How often a dropped coroutine may go on before it is leaked; as for a task that swallows its cancellation.
const MAX_UNWINDS: u8 = 16;

impl<'a, Input: 'a, Yield: 'a, Return: 'a> Coroutine<'a, Input, Yield, Return> {
    /// A coroutine that has not started. The first resumption calls `f` with its input.
    ///
    /// # Panics
    /// When no stack can be had; [`with_stack_size`](Self::with_stack_size) tells why instead.
    #[track_caller]
    pub fn new<F>(f: F) -> Self
    where
        F: FnOnce(&Suspender<'_, Input, Yield>, Input) -> Return + 'a,
    {
        match Self::on_stack(default_class(), f) {
            Ok(coroutine) => coroutine,
            Err(error) => panic!("there is no stack for the coroutine: {error}"),
        }
    }

    /// A coroutine with a stack of so many usable bytes, rounded up as by
    /// [`task::Builder::stack_size`](crate::task::Builder::stack_size).
    ///
    /// # Errors
    /// - `InvalidInput`: a size that no stack can have.
    /// - When no stack can be had now: the error names the limit that was met, and the remedy.
    pub fn with_stack_size<F>(bytes: usize, f: F) -> io::Result<Self>
    where
        F: FnOnce(&Suspender<'_, Input, Yield>, Input) -> Return + 'a,
    {
        check_stack_size(bytes)?;
        Self::on_stack(Class::for_usable(bytes), f)
    }

    fn on_stack<F>(class: Class, f: F) -> io::Result<Self>
    where
        F: FnOnce(&Suspender<'_, Input, Yield>, Input) -> Return + 'a,
    {
        let stack = switch::acquire(class)?;
        let extent = stack.extent().by_hand();
        let exchange = Rc::new(Exchange {
            input: Cell::new(None),
            yielded: Cell::new(None),
            thrown: Cell::new(None),
            dropping: Cell::new(false),
            panicking: Cell::new(false),
            waits: Cell::new(0),
        });
        let result = Rc::new(Cell::new(None));
        let body: Body<'a> = Box::new({
            let (exchange, result) = (exchange.clone(), result.clone());
            move |switch| run(f, switch, exchange, &result, extent)
        });
        // SAFETY: only the lifetime changes. The body is called, and its frames are touched, only by `resume` and the drop, both
        // within `'a`; frames that are leaked are never touched again.
        let body = unsafe { mem::transmute::<Body<'a>, Body<'static>>(body) };
        let inner = switch::Coroutine::new(stack, body);
        let (owner, finished) = (None, false);
        Ok(Self { inner, exchange, result, extent, owner, finished, body: std::marker::PhantomData })
    }
}

impl<Input, Yield, Return> Coroutine<'_, Input, Yield, Return> {
    /// Runs the body from where it was last suspended until it suspends itself again, or returns.
    ///
    /// # Blocking
    /// Whatever the body waits for.
    ///
    /// # Cancel safety
    /// When the calling task is cancelled and the body waits, the body unwinds, and is finished: *may lose data*.
    ///
    /// # Panics
    /// - When the body panics, with its payload: then it is finished.
    /// - When it is finished.
    /// - When another task has resumed it before.
    #[track_caller]
    pub fn resume(&mut self, input: Input) -> Step<Yield, Return> {
        assert!(!self.finished, "the coroutine has finished, and cannot be resumed");
        let here = current::task_id();
        assert!(
            *self.owner.get_or_insert(here) == here,
            "the coroutine belongs to another task: `one-owner`"
        );
        self.exchange.input.set(Some(input));
        self.switch();
        if let Some(payload) = self.exchange.thrown.take() {
            task::rethrow(payload);
        }
        match self.exchange.yielded.take() {
            Some(value) => Step::Suspended(value),
            None => Step::Finished(self.result.take().expect("a body that has returned leaves its value")),
        }
    }

    /// Whether the body has returned or panicked.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    fn switch(&mut self) {
        self.exchange.panicking.set(thread::panicking());
        self.exchange.waits.set(waits_around());
        // A wait inside suspends the task from this stack: its record is told which one it is.
        let record = current::record().map(|(_, record)| record);
        let outer = record.map(|record| record.stack.replace(Some(self.extent)));
        self.finished = self.inner.resume() == Resumed::Finished;
        if let (Some(record), Some(outer)) = (record, outer) {
            record.stack.set(outer);
        }
    }

    /// Unwinds the frames of a suspended body, if they are ours to unwind.
    fn unwind(&mut self) {
        if cfg!(panic = "abort") || self.owner != Some(current::task_id()) {
            return;
        }
        self.exchange.dropping.set(true);
        for _ in 0..MAX_UNWINDS {
            self.switch();
            if self.finished {
                return;
            }
            drop(self.exchange.yielded.take());
        }
    }
}

type Body<'a> = Box<dyn FnOnce(&switch::Suspender) + 'a>;

/// A body from its start to its end, which is not an unwind.
fn run<F, Input, Yield, Return>(
    f: F,
    switch: &switch::Suspender,
    exchange: Rc<Exchange<Input, Yield>>,
    result: &Cell<Option<Return>>,
    extent: Extent,
) where
    F: FnOnce(&Suspender<'_, Input, Yield>, Input) -> Return,
{
    let input = exchange.input.take().expect("resumed with an input");
    let suspender = Suspender { switch, exchange: exchange.clone(), extent };
    match catch_unwind(AssertUnwindSafe(|| f(&suspender, input))) {
        Ok(value) => result.set(Some(value)),
        Err(payload) => exchange.thrown.set(Some(payload)),
    }
}

/// How many waits the caller is in, all those of its task's stacks.
fn waits_around() -> u16 {
    current::record().map_or(0, |(_, record)| record.depth.get())
}

/// The class of stacks that coroutines of the current runtime have.
fn default_class() -> Class {
    let scheduler = current::scheduler();
    scheduler.map_or(Class::for_usable(STACK_BYTES), |scheduler| scheduler.config().closures.class)
}

/// Off the workers, with the guard 256 KiB of address space; 1 MiB in debug builds, whose frames are larger.
const STACK_BYTES: usize = if cfg!(debug_assertions) { 960 << 10 } else { 192 << 10 };

impl<Input, Yield, Return> Drop for Coroutine<'_, Input, Yield, Return> {
    fn drop(&mut self) {
        if self.owner.is_none() || self.finished {
            return;
        }
        self.unwind();
        if let Some(payload) = self.exchange.thrown.take()
            && !payload.is::<Dropped>()
        {
            // The body has caught the unwind and panicked by itself.
            if thread::panicking() {
                mem::forget(payload);
            } else {
                resume_unwind(payload);
            }
        }
    }
}

impl<Input, Yield, Return> fmt::Debug for Coroutine<'_, Input, Yield, Return> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coroutine")
            .field("started", &self.owner.is_some())
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}

/// The way out of a running body; see [`Coroutine`].
pub struct Suspender<'s, Input, Yield> {
    switch: &'s switch::Suspender,
    exchange: Rc<Exchange<Input, Yield>>,
    extent: Extent,
}

impl<Input, Yield> Suspender<'_, Input, Yield> {
    /// Returns `value` from the [`resume`](Coroutine::resume) in progress; comes back with the input of the next one.
    ///
    /// # Cancel safety
    /// Not a wait. When the coroutine is dropped meanwhile, the body unwinds from here.
    ///
    /// # Panics
    /// - When it is called on the stack of another coroutine, inside this one.
    /// - When it is called inside a wait that has begun in this coroutine: by a future that it waits for, while that is polled. Off
    ///   the workers that is not noticed, and does no harm.
    /// - When it is called by a destructor as the body unwinds; the process then aborts.
    pub fn suspend(&self, value: Yield) -> Input {
        let here = switch::stack_pointer();
        assert!(self.extent.range().contains(&here), "suspended from another coroutine's stack: `own-stack`");
        assert!(
            !thread::panicking() || self.exchange.panicking.get(),
            "a coroutine cannot be suspended while it unwinds"
        );
        assert!(
            self.exchange.waits.get() == waits_around(),
            "suspended inside a wait that has begun in this coroutine: `own-waits`"
        );
        self.exchange.yielded.set(Some(value));
        self.switch.suspend();
        if self.exchange.dropping.get() {
            resume_unwind(Box::new(Dropped));
        }
        self.exchange.input.take().expect("resumed with an input")
    }
}

impl<Input, Yield> fmt::Debug for Suspender<'_, Input, Yield> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Suspender")
    }
}
