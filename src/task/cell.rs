//! A task's one allocation: the header, then the future, whose place the result takes.
//!
//! # Picture
//! ```text
//!  Runnable ─┐   ┌──────────────────────────────┬─────────────────────┐
//!  Handle ───┼─► │ Header: link, word, vtable … │ future, then result │
//!  Waker ────┘   └──────────────────────────────┴─────────────────────┘
//! ```
//! One word is all that a runnable, a handle and a waker consist of; who may do what, and who frees the task, is the business of
//! [`Word`].
//!
//! # Why not `async_task`'s
//! It served here before, and serves the executors of [`executor`](crate::executor) still. A task of the runtime is entered in a
//! registry, is never cancelled from outside, and wants memory from its worker; none of that fits in from outside. Together with
//! `memory.rs` the cell took spawning and joining a future from 1,202 to 487 instructions, and `go` and join from 0.7 to 0.3 of Go's
//! time in the same run.
//!
//! # Invariants
//! - `whole`: these pointers are to the whole allocation, from which they were made. One that was made of a reference to the header
//!   gets its provenance back from the address that `new` exposed.
//! - `stage`: the future lives until `COMPLETED` is about to be set, and is touched by the runner alone. Then the result lives: it is
//!   the handle's, or without one the runner's, until it is taken or dropped.
//! - `nothing-unwinds`: a poll, and the destructors of the future and of a result that nobody takes, run under `catch_unwind`.
//!
//! # Cancellation
//! is the task's own affair: before each poll the flag is looked at, and the future is dropped here, by whoever runs the task,
//! shielded from cancellation. So a task that is suspended in a wait is never dropped from elsewhere, and an output that is
//! there is never discarded.

use crate::runtime::current::CurrentHome;
use crate::runtime::{Record, memory};
use crate::task::AbortOnUnwind;
use crate::task::body::is_own_cancellation;
use crate::task::header::{Header, State};
use crate::task::join::{Failure, discard};
use crate::task::word::{Detached, Next, Word};
use std::alloc::Layout;
use std::any::Any;
use std::cell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

/// What a task does that depends on its type.
///
/// # Safety
/// The pointers are as `whole` says, to a cell of the type that the table is of; and what each function says.
pub(crate) struct VTable {
    /// Runs the task once, under the runner's rights. True: the result is there.
    poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> bool,
    /// Where the result lies, from the header on.
    result: usize,
    /// Drops the result of a task that has completed.
    // SAFETY: asks what the table asks, and that the result has not been taken.
    discard: unsafe fn(NonNull<Header>),
    /// Frees a task whose result is gone.
    // SAFETY: asks what the table asks, and that nobody has a reference to the task any more.
    free: unsafe fn(NonNull<Header>),
}

#[repr(C)]
struct Cell<F: Future> {
    header: Header,
    stage: Stage<F>,
}

/// See `stage`.
#[repr(C)]
union Stage<F: Future> {
    future: ManuallyDrop<F>,
    result: ManuallyDrop<Result<F::Output, Failure>>,
}

impl<F: Future> Cell<F> {
    const VTABLE: VTable = VTable {
        poll: Self::poll,
        result: mem::offset_of!(Self, stage),
        discard: Self::discard,
        free: Self::free,
    };

    const LAYOUT: Layout = Layout::new::<Self>();

    /// # Safety
    /// The caller is the runner; `stage` holds the future.
    unsafe fn poll(task: NonNull<Header>, cx: &mut Context<'_>) -> bool {
        // SAFETY: the runner keeps the task.
        let header = unsafe { task.as_ref() };
        // SAFETY: as above; `whole`.
        let stage = unsafe { &raw mut (*task.cast::<Self>().as_ptr()).stage };
        // Both fields of the union lie at its start, and `ManuallyDrop` is transparent.
        let future: *mut F = stage.cast();
        let mut result = if header.cancel.is_requested() {
            Err(Failure::Cancelled)
        } else {
            // SAFETY: `stage`; it is never moved, for the allocation is not.
            match catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: as above.
                let poll = unsafe { Pin::new_unchecked(&mut *future) }.poll(cx);
                if poll.is_pending() && header.guarded.get() && header.pinned().is_none() {
                    crate::wait::drop_hooks(header);
                }
                poll
            })) {
                Ok(Poll::Pending) => {
                    // A wake during the poll is scheduled after this, and says `Ready`.
                    header.set_state(State::Waiting);
                    return false;
                }
                Ok(Poll::Ready(value)) => Ok(value),
                Err(payload) => Err(failure(header, payload)),
            }
        };
        // SAFETY: `stage`; dropped once, for the result takes its place.
        if let Err(payload) = drop_shielded(header, || unsafe { ptr::drop_in_place(future) }) {
            replace(header, &mut result, failure(header, payload));
        }
        // Also when the future's destructors have thrown: extras may be bound to this thread.
        if let Err(payload) = drop_shielded(header, || header.drop_extras()) {
            replace(header, &mut result, failure(header, payload));
        }
        header.set_ended();
        // SAFETY: the future is gone.
        unsafe { stage.cast::<Result<F::Output, Failure>>().write(result) };
        true
    }

    /// # Safety
    /// The result is the caller's.
    unsafe fn discard(task: NonNull<Header>) {
        // SAFETY: the caller keeps the task, and owns the result.
        unsafe {
            let stage = &raw mut (*task.cast::<Self>().as_ptr()).stage;
            discard(task.as_ref().scheduler, stage.cast::<Result<F::Output, Failure>>().read());
        }
    }

    /// # Safety
    /// Nobody else knows the task, and its result is gone.
    unsafe fn free(task: NonNull<Header>) {
        // SAFETY: the caller's promise; `new` has got it from there.
        unsafe {
            ptr::drop_in_place(task.as_ptr());
            memory::free(task.cast(), Self::LAYOUT);
        }
    }
}

/// What unwound out of a task: a cancellation that we threw, or a panic.
#[cold]
fn failure(header: &Header, payload: Box<dyn Any + Send>) -> Failure {
    if is_own_cancellation(header, &*payload) { Failure::Cancelled } else { Failure::Panicked(payload) }
}

/// A destructor's panic takes the place of what came before it, unless that was a panic itself.
#[cold]
fn replace<T>(header: &Header, result: &mut Result<T, Failure>, later: Failure) {
    let earlier = match result {
        Err(Failure::Panicked(_)) => Err(later),
        _ => mem::replace(result, Err(later)),
    };
    match earlier {
        // It is the lesser of two panics, and has been told of by the panic hook; its destructor may throw as well.
        Err(failure) => mem::forget(failure),
        value => discard(header.scheduler, value),
    }
}

/// Runs destructors: what they throw is returned, and no cancellation is thrown inside them.
#[inline]
fn drop_shielded(header: &Header, destructors: impl FnOnce()) -> Result<(), Box<dyn Any + Send>> {
    header.shields.set(header.shields.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(destructors));
    header.shields.set(header.shields.get() - 1);
    result
}

/// Makes a task of a header, which `make` makes around the vtable, and a future, which is moved out of its place when nothing can
/// fail any more. `here`: the home that the caller drives, if any.
///
/// # Safety
/// - A future that is not `Send`, or whose output is not, is run and its handle used on one thread only.
/// - What the future borrows outlives the task.
/// - `future` points to one that nobody uses, or drops, afterwards. `make` does not unwind.
#[inline]
pub(crate) unsafe fn new<F: Future>(
    here: Option<CurrentHome>,
    make: impl FnOnce(&'static VTable) -> Header,
    future: *const F,
) -> (Runnable, Handle<F::Output>) {
    let cell: NonNull<Cell<F>> = memory::allocate(here, Cell::<F>::LAYOUT).cast();
    let task = cell.cast::<Header>();
    task.as_ptr().expose_provenance();
    // SAFETY: it is ours, and large enough.
    unsafe {
        task.write(make(&Cell::<F>::VTABLE));
        (&raw mut (*cell.as_ptr()).stage).cast::<F>().copy_from_nonoverlapping(future, 1);
    }
    (Runnable { task }, Handle { task, result: PhantomData })
}

/// See `whole`.
fn whole(header: &Header) -> NonNull<Header> {
    let task = ptr::with_exposed_provenance_mut(ptr::from_ref(header).addr());
    // SAFETY: the address of a reference.
    unsafe { NonNull::new_unchecked(task) }
}

/// The right to run a task once. It is not dropped, but run: else the task would never end.
#[derive(Debug)]
#[must_use = "a task whose runnable is lost never ends"]
pub(crate) struct Runnable {
    task: NonNull<Header>,
}

// SAFETY: whoever made a task of what is not `Send` keeps its runs on one thread (`new`).
unsafe impl Send for Runnable {}
// SAFETY: a shared one gives the header only, which is Sync.
unsafe impl Sync for Runnable {}

impl Runnable {
    #[inline]
    pub(crate) fn metadata(&self) -> &Header {
        // SAFETY: `live`: the task has not completed.
        unsafe { self.task.as_ref() }
    }

    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<()> {
        self.task.cast()
    }

    /// # Safety
    /// From `into_raw`, once.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: NonNull<()>) -> Self {
        Self { task: raw.cast() }
    }

    /// Runs the task once. `woke_itself` is clear, and set by the run if it has to be woken again at once.
    #[inline]
    pub(crate) fn run(self, woke_itself: &cell::Cell<bool>) -> Ran {
        let task = self.task;
        // SAFETY: `live`, until the task has completed or paused.
        let header = unsafe { task.as_ref() };
        header.word.start();
        // SAFETY: a bare pointer, for a time during which the task lives: not counted, not dropped.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(raw_waker(task)) });
        // SAFETY: we are the runner.
        if unsafe { (header.vtable.poll)(task, &mut Context::from_waker(&waker)) } {
            return Ran::Ended(end(task));
        }
        // Unless it was woken meanwhile, the task may be gone after this.
        if woke_itself.take() || header.word.pause() == Next::Schedule {
            return Ran::Woken(Self { task });
        }
        Ran::Paused
    }
}

/// What a run has come to.
#[derive(Debug)]
#[must_use = "a task that was woken is to be scheduled"]
pub(crate) enum Ran {
    /// It waits for a wake, or has had it already.
    Paused,
    /// It was woken while it ran.
    Woken(Runnable),
    /// It has completed.
    Ended(Ended),
}

/// The result is there: whoever waits for it is told.
#[inline]
fn end(task: NonNull<Header>) -> Ended {
    // SAFETY: `live`: its own reference is still there, and becomes the `Ended`'s.
    let header = unsafe { task.as_ref() };
    let completion = header.word.complete();
    if completion.is_detached {
        // SAFETY: nobody will take the result, so it is ours.
        unsafe { (header.vtable.discard)(task) };
    }
    if let Some(awaiter) = completion.awaiter {
        // It is somebody's who was told that it must not panic: the task could not be taken out of the registry any more.
        let whole = AbortOnUnwind;
        awaiter.wake();
        mem::forget(whole);
    }
    Ended { task }
}

/// A task that has completed. It holds the task's own reference, and drops it.
#[derive(Debug)]
pub(crate) struct Ended {
    task: NonNull<Header>,
}

impl Ended {
    #[inline]
    pub(crate) fn header(&self) -> &Header {
        // SAFETY: `live`.
        unsafe { self.task.as_ref() }
    }
}

impl Drop for Ended {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { drop_waker(self.task.as_ptr().cast_const().cast()) };
    }
}

/// Owns the result of a task. Dropped, it detaches the task.
pub(crate) struct Handle<T> {
    task: NonNull<Header>,
    result: PhantomData<T>,
}

// SAFETY: it gives the result away, hence `T: Send`; the header is Sync, and the word is made for several threads.
unsafe impl<T: Send> Send for Handle<T> {}
// SAFETY: a shared one gives the header only.
unsafe impl<T> Sync for Handle<T> {}
impl<T> Unpin for Handle<T> {}
// What a panic interrupts here is the result's move or the waker's, and leaves neither half done.
impl<T> UnwindSafe for Handle<T> {}
impl<T> RefUnwindSafe for Handle<T> {}

impl<T> Handle<T> {
    #[inline]
    pub(crate) fn header(&self) -> &Header {
        // SAFETY: the handle keeps the task.
        unsafe { self.task.as_ref() }
    }

    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        self.header().word.is_completed()
    }

    /// The result, if the task has completed.
    ///
    /// # Panics
    /// When it has been taken.
    #[inline]
    pub(crate) fn try_take(&mut self) -> Option<Result<T, Failure>> {
        if !self.is_finished() {
            return None;
        }
        assert!(self.header().take_result(), "a JoinHandle was polled after it had given its result");
        // SAFETY: `stage`: the task has completed, so the result is ours; it is taken once.
        Some(unsafe { self.task.byte_add(self.header().vtable.result).cast::<Result<T, Failure>>().read() })
    }

    /// Leaves a waker for the task's end. True: it has completed meanwhile.
    pub(crate) fn wait(&mut self, waker: &Waker) -> bool {
        // SAFETY: this is the handle.
        unsafe { self.header().word.wait(waker) }
    }
}

impl<T> Drop for Handle<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this is the handle, and it goes.
        let _awaiter = match unsafe { self.header().word.detach() } {
            Detached::GoesOn(awaiter) => awaiter,
            Detached::Completed => {
                let vtable = self.header().vtable;
                if !self.header().is_result_taken() {
                    // SAFETY: `stage`: the result is ours.
                    unsafe { (vtable.discard)(self.task) };
                }
                if self.header().word.drop_handle() == Next::Free {
                    // SAFETY: nobody else knows the task; the result is gone.
                    unsafe { (vtable.free)(self.task) };
                }
                None
            }
        };
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.header().word).finish()
    }
}

// ---- wakers: what they point to is kept by their references

static WAKER: RawWakerVTable = RawWakerVTable::new(clone_waker, wake, wake_by_ref, drop_waker);

#[inline]
fn raw_waker(task: NonNull<Header>) -> RawWaker {
    RawWaker::new(task.as_ptr().cast_const().cast(), &WAKER)
}

/// A waker of a task that has not completed; the caller keeps it from being freed meanwhile. None: it has.
pub(crate) fn waker(header: &Header) -> Option<Waker> {
    if header.word.is_completed() {
        return None;
    }
    header.word.add_reference();
    // SAFETY: the reference is the waker's.
    Some(unsafe { Waker::from_raw(raw_waker(whole(header))) })
}

/// # Safety
/// `task` is a waker's, here and below.
#[inline]
unsafe fn task_of<'a>(task: *const ()) -> (NonNull<Header>, &'a Word) {
    // SAFETY: the caller's promise: not null, and kept by the reference.
    unsafe {
        let task = NonNull::new_unchecked(task.cast_mut()).cast::<Header>();
        (task, &(*task.as_ptr()).word)
    }
}

/// # Safety
/// As `task_of`.
unsafe fn clone_waker(task: *const ()) -> RawWaker {
    // SAFETY: the caller's promise.
    let (task, word) = unsafe { task_of(task) };
    word.add_reference();
    raw_waker(task)
}

/// # Safety
/// As `task_of`.
unsafe fn wake_by_ref(task: *const ()) {
    if Record::wake_running_task(task.cast()) {
        return;
    }
    // SAFETY: the caller's promise.
    let (task, word) = unsafe { task_of(task) };
    // SAFETY: as `follow` asks.
    unsafe { follow(task, word.wake()) };
}

/// # Safety
/// As `task_of`.
unsafe fn wake(task: *const ()) {
    // SAFETY: the caller's promise.
    let (task, word) = unsafe { task_of(task) };
    // SAFETY: as `follow` asks.
    unsafe { follow(task, word.wake_and_drop()) };
}

/// # Safety
/// As `task_of`.
unsafe fn drop_waker(task: *const ()) {
    // SAFETY: the caller's promise.
    let (task, word) = unsafe { task_of(task) };
    // SAFETY: as `follow` asks.
    unsafe { follow(task, word.drop_reference()) };
}

/// # Safety
/// The task's word has just said so.
#[inline]
unsafe fn follow(task: NonNull<Header>, next: Next) {
    match next {
        Next::Nothing => {}
        Next::Schedule => crate::runtime::scheduler::schedule(Runnable { task }),
        // SAFETY: nobody else knows the task. It has completed, for its own reference is gone, and without a handle its result is
        // gone as well.
        Next::Free => unsafe {
            let free = task.as_ref().vtable.free;
            free(task);
        },
    }
}
