//! A body on a stack of its own: what every form of coroutine here is made of.

use crate::coroutine::{self as switch, Class, Extent, Resumed, Stack};
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

/// What a resumption came back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<Yield, Return> {
    /// The body has suspended itself, with this value.
    Suspended(Yield),
    /// The body has returned this value, and is not to be resumed.
    Finished(Return),
}

/// A body, and where it is suspended when it is.
pub(super) struct Body<Input, Yield, Return> {
    inner: switch::Coroutine,
    exchange: Rc<Exchange<Input, Yield>>,
    result: Rc<Cell<Option<Return>>>,
    extent: Extent,
    /// The task that resumed it first, once it has been: `Some(None)` off the workers.
    owner: Option<Option<u64>>,
    finished: bool,
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

/// The payload that a body unwinds with which is told to end.
struct Dropped;

/// How often a body may go on that is told to end; as for a task that swallows its cancellation.
const MAX_UNWINDS: u8 = 16;

/// The stack of a body, of the current runtime's class.
///
/// # Panics
/// When none can be had.
#[track_caller]
pub(super) fn default_stack() -> Stack {
    match switch::acquire(default_class()) {
        Ok(stack) => stack,
        Err(error) => panic!("there is no stack for the coroutine: {error}"),
    }
}

/// A stack of so many usable bytes.
pub(super) fn stack_of(bytes: usize) -> io::Result<Stack> {
    check_stack_size(bytes)?;
    switch::acquire(Class::for_usable(bytes))
}

/// The class of stacks that coroutines of the current runtime have.
fn default_class() -> Class {
    let scheduler = current::scheduler();
    scheduler.map_or(Class::for_usable(STACK_BYTES), |scheduler| scheduler.config().closures.class)
}

/// Off the workers, with the guard 256 KiB of address space; 1 MiB in debug builds, whose frames are larger.
const STACK_BYTES: usize = if cfg!(debug_assertions) { 960 << 10 } else { 192 << 10 };

type Erased<'a> = Box<dyn FnOnce(&switch::Suspender) + 'a>;

impl<Input: 'static, Yield: 'static, Return: 'static> Body<Input, Yield, Return> {
    /// A body that has not begun, and borrows nothing.
    pub(super) fn new<F>(stack: Stack, f: F) -> Self
    where
        F: FnOnce(&Suspender<'_, Input, Yield>, Input) -> Return + 'static,
    {
        // SAFETY: `'static`.
        unsafe { Self::borrowing(stack, f) }
    }
}

impl<Input, Yield, Return> Body<Input, Yield, Return> {
    /// A body that has not begun, and may borrow for `'a`.
    ///
    /// # Safety
    /// `'a` does not end before the body has ended, or been dropped without having begun.
    pub(super) unsafe fn borrowing<'a, F>(stack: Stack, f: F) -> Self
    where
        F: FnOnce(&Suspender<'_, Input, Yield>, Input) -> Return + 'a,
        Input: 'a,
        Yield: 'a,
        Return: 'a,
    {
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
        let erased: Erased<'a> = Box::new({
            let (exchange, result) = (exchange.clone(), result.clone());
            move |switch| run(f, switch, exchange, &result, extent)
        });
        // SAFETY: only the lifetime changes, which is the caller's to answer for.
        let erased = unsafe { mem::transmute::<Erased<'a>, Erased<'static>>(erased) };
        let inner = switch::Coroutine::new(stack, erased);
        Self { inner, exchange, result, extent, owner: None, finished: false }
    }

    /// Makes it the calling task's, and nobody else's.
    pub(super) fn claim(&mut self) -> bool {
        let here = current::task_id();
        *self.owner.get_or_insert(here) == here
    }

    #[track_caller]
    pub(super) fn resume(&mut self, input: Input) -> Step<Yield, Return> {
        assert!(!self.finished, "the coroutine has finished, and cannot be resumed");
        assert!(self.claim(), "the coroutine belongs to another task: `one-owner`");
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

    pub(super) fn is_finished(&self) -> bool {
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

    /// Ends it: unwinds its frames, if there are any. False: they are not ours to unwind, or it goes on and on.
    #[must_use]
    pub(super) fn end(&mut self) -> bool {
        if !self.inner.is_suspended() {
            return true;
        }
        if cfg!(panic = "abort") || self.owner != Some(current::task_id()) {
            return false;
        }
        self.exchange.dropping.set(true);
        for _ in 0..MAX_UNWINDS {
            self.switch();
            if self.finished {
                return true;
            }
            drop(self.exchange.yielded.take());
        }
        false
    }

    /// Throws what a body has thrown that was told to end: it has caught the unwind, and panicked by itself.
    pub(super) fn throw_its_own(&mut self) {
        if let Some(payload) = self.exchange.thrown.take()
            && !payload.is::<Dropped>()
        {
            if thread::panicking() {
                mem::forget(payload);
            } else {
                resume_unwind(payload);
            }
        }
    }
}

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

/// How many waits the caller is in, on all stacks of its task.
fn waits_around() -> u16 {
    current::record().map_or(0, |(_, record)| record.depth.get())
}

impl<Input, Yield, Return> fmt::Debug for Body<Input, Yield, Return> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("suspended", &self.inner.is_suspended())
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}

/// The way out of a running body; see [`Coroutine`](super::Coroutine) and [`ScopedCoroutine`](super::ScopedCoroutine).
pub struct Suspender<'s, Input, Yield> {
    switch: &'s switch::Suspender,
    exchange: Rc<Exchange<Input, Yield>>,
    extent: Extent,
}

impl<Input, Yield> Suspender<'_, Input, Yield> {
    /// Returns `value` from the [`resume`](super::Coroutine::resume) in progress; comes back with the input of the next one.
    ///
    /// # Cancel safety
    /// Not a wait. When the coroutine is dropped meanwhile, or its scope ends, the body unwinds from here.
    ///
    /// # Panics
    /// - When it is called on the stack of another coroutine, inside this one.
    /// - When it is called inside a wait that has begun in this coroutine: by a future that it waits for, while that is polled. Off
    ///   the workers that is not noticed, and does no harm.
    /// - When it is called by a destructor as the body unwinds; the process then aborts. If whoever resumed it unwinds too, the two
    ///   cannot be told apart, and it is let through: the thread then counts as [panicking](std::thread::panicking) until the body
    ///   has ended.
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
