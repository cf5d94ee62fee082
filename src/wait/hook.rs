//! Guards around waits: [`hook`] runs callbacks at every suspension and resumption under it, [`forbid`] refuses to wait.
//!
//! Both belong to the task they are made in, and lie in its header, so that they follow it and nobody else.

use crate::primitive::contain_panic;
use crate::runtime::Scheduler;
use crate::runtime::current;
use crate::task::header::Header;
use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;

/// The rarely used part of a task header.
#[derive(Default)]
pub(crate) struct Extras {
    hooks: Vec<Hook>,
    /// By the numbers of their guards.
    forbidden: Vec<(u64, &'static Location<'static>)>,
    /// A hook's callback is running: waiting in it is refused.
    in_hook: Option<&'static Location<'static>>,
    /// The scheduler whose `block_on` the task is in, where that is not its home's.
    pub(crate) entered: Option<&'static Scheduler>,
    /// The values of `task_local!` keys.
    pub(crate) locals: crate::task::Locals,
    /// What a hook threw during a wait that must not unwind.
    panic: Option<Box<dyn Any + Send>>,
}

impl Extras {
    /// Whether a wait has to look here. While a hook's callback runs, which the hooks lie outside for, it has to.
    fn guards(&self) -> bool {
        !self.hooks.is_empty() || !self.forbidden.is_empty() || self.in_hook.is_some()
    }

    /// Whether dropping it does nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.hooks.is_empty() && self.locals.is_empty() && self.panic.is_none()
    }

    /// Drops what was left at the task's end. Hooks are forgotten: they may be bound to another thread.
    pub(crate) fn abandon(mut self) {
        mem::forget(mem::take(&mut self.hooks));
        contain_panic(|| drop(self));
    }
}

struct Hook {
    site: &'static Location<'static>,
    /// False once the guard has been dropped, wherever that was.
    alive: Rc<Cell<bool>>,
    before: Box<dyn FnMut()>,
    after: Box<dyn FnMut()>,
}

/// At the end of a poll of a future that may go on on another thread: no guard of its is left but leaked ones (they are `!Send`),
/// and callbacks are bound to this thread.
#[cold]
pub(crate) fn drop_hooks(task: &Header) {
    let hooks = task.extras(|extras| {
        let hooks = mem::take(&mut extras.hooks);
        task.guarded.set(extras.guards());
        hooks
    });
    drop(hooks);
}

/// Calls `before` when the calling task suspends in a wait, and `after` when it is resumed, for as long as the guard lives.
///
/// It is how state that belongs to a piece of code, but lies in a thread-local, is carried over waits: `before` takes it out,
/// `after` puts it back. Hooks nest: `before` runs from the innermost outwards, `after` from the outermost inwards. A future's
/// `.await` is not a wait in this sense: hooks run when a *synchronous* wait suspends the task. Nor is it one when a
/// [generator](crate::generator)'s body suspends itself: what a hook made there carries stays set for whoever has resumed the body.
///
/// Off the workers the guard does nothing: a wait there blocks the thread, and nothing else runs on it.
///
/// # Panics
/// A callback must not wait: the wait panics. A panic in a callback unwinds from the wait.
///
/// # Examples
/// ```
/// use std::cell::Cell;
/// thread_local! { static DEPTH: Cell<u32> = const { Cell::new(0) }; }
///
/// let task = aqueduct::go(|| {
///     DEPTH.set(1);
///     let guard = aqueduct::wait::hook(|| DEPTH.set(0), || DEPTH.set(1));
///     aqueduct::yield_now(); // whoever runs meanwhile sees 0
///     let depth = DEPTH.get();
///     drop(guard);
///     DEPTH.set(0);
///     depth
/// });
/// assert_eq!(task.join().unwrap(), 1);
/// ```
#[track_caller]
#[must_use = "the hook is removed when the guard is dropped"]
pub fn hook(before: impl FnMut() + 'static, after: impl FnMut() + 'static) -> HookGuard {
    let alive = Rc::new(Cell::new(true));
    let hook = Hook {
        site: Location::caller(),
        alive: alive.clone(),
        before: Box::new(before),
        after: Box::new(after),
    };
    current::with_task(|task| {
        task.guarded.set(true);
        task.make_extras(|extras| extras.hooks.push(hook));
    });
    HookGuard { alive }
}

/// Removes its hook when dropped; see [`hook`].
pub struct HookGuard {
    /// The `Rc` also makes the guard `!Send`: it belongs to a task on this thread.
    alive: Rc<Cell<bool>>,
}

impl Drop for HookGuard {
    fn drop(&mut self) {
        self.alive.set(false);
        let removed = current::with_task(|task| {
            task.extras(|extras| {
                let index = extras.hooks.iter().rposition(|hook| Rc::ptr_eq(&hook.alive, &self.alive))?;
                let hook = extras.hooks.remove(index);
                task.guarded.set(extras.guards());
                Some(hook)
            })
        });
        // The callbacks are dropped here, when nothing is borrowed: what they own may be the user's.
        drop(removed);
    }
}

impl fmt::Debug for HookGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookGuard")
    }
}

/// Forbids waiting in the calling task, or off the workers on the calling thread, for as long as the guard lives.
///
/// For code that must not be suspended half-way: it holds a lock of another library, or is between the begin and the end of
/// something bound to the thread. A wait that would suspend panics and names this place; an operation that does not have to
/// wait goes through.
///
/// A guard that is moved to another task and dropped there allows nothing: neither there nor in the task it was made in.
///
/// # Examples
/// ```
/// let task = aqueduct::go(|| {
///     let _guard = aqueduct::wait::forbid();
///     aqueduct::yield_now();
/// });
/// assert!(task.join().unwrap_err().is_panic());
/// ```
#[track_caller]
#[must_use = "waiting is allowed again when the guard is dropped"]
pub fn forbid() -> ForbidGuard {
    let site = Location::caller();
    let entry = current::with_task(|task| {
        task.guarded.set(true);
        let id = current::next_guard();
        task.make_extras(|extras| extras.forbidden.push((id, site)));
        id
    });
    if entry.is_none() {
        let (guards, _) = current::forbidden_by();
        current::replace_forbidden((guards + 1, Some(site)));
    }
    ForbidGuard { entry, not_send: PhantomData }
}

/// Allows waiting again when dropped; see [`forbid`].
pub struct ForbidGuard {
    entry: Option<u64>,
    not_send: PhantomData<*const ()>,
}

impl Drop for ForbidGuard {
    fn drop(&mut self) {
        let Some(entry) = self.entry else {
            // Guards may go in any order.
            let (guards, site) = current::forbidden_by();
            let left = guards.saturating_sub(1);
            current::replace_forbidden((left, site.filter(|_| left > 0)));
            return;
        };
        current::with_task(|task| {
            task.extras(|extras| {
                extras.forbidden.retain(|(id, _)| *id != entry);
                task.guarded.set(extras.guards());
            });
        });
    }
}

impl fmt::Debug for ForbidGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForbidGuard")
    }
}

/// Whether a wait of this task would be refused.
pub(super) fn refuses(task: &Header) -> bool {
    forbidden_by(task).is_some() || task.scheduler.refuses_wait_in_poll(task)
}

/// The guard or hook that forbids waiting.
#[inline]
fn forbidden_by(task: &Header) -> Option<&'static Location<'static>> {
    if !task.guarded.get() {
        return None;
    }
    task.extras(|extras| extras.in_hook.or(extras.forbidden.last().map(|(_, by)| *by))).flatten()
}

/// # Panics
/// When waiting is forbidden in this task.
#[inline]
pub(super) fn refuse_if_forbidden(task: &Header, site: &'static Location<'static>) {
    let by = forbidden_by(task);
    // While unwinding, a second panic would abort the process: then the wait goes ahead.
    if let Some(by) = by
        && !std::thread::panicking()
    {
        refuse(by, site);
    }
}

#[cold]
pub(super) fn refuse(by: &'static Location<'static>, site: &'static Location<'static>) -> ! {
    panic!("the wait at {site} is forbidden by the guard or hook at {by}: move the wait out of its scope")
}

#[inline]
pub(super) fn run_before(task: &Header) {
    if task.guarded.get() {
        run(task, |hooks| hooks.iter_mut().rev().for_each(|hook| (hook.before)()));
    }
}

#[inline]
pub(super) fn run_after(task: &Header) {
    if task.guarded.get() {
        run(task, |hooks| hooks.iter_mut().for_each(|hook| (hook.after)()));
    }
}

/// Runs callbacks with the hooks taken out of the header, so that they may make and drop guards themselves.
#[cold]
fn run(task: &Header, callbacks: impl FnOnce(&mut Vec<Hook>)) {
    let mut hooks = task.make_extras(|extras| std::mem::take(&mut extras.hooks));
    let Some(first) = hooks.first() else { return };
    let site = first.site;
    hooks.retain(|hook| hook.alive.get());
    task.make_extras(|extras| extras.in_hook = Some(site));
    let mut hooks = PutBack { task, hooks };
    if task.borrowing.get() == 0 {
        callbacks(&mut hooks.hooks);
    } else if let Err(payload) = catch_unwind(AssertUnwindSafe(|| callbacks(&mut hooks.hooks))) {
        let _later = task.make_extras(|extras| extras.panic.replace(payload));
    }
}

/// What a hook threw during a wait that must not unwind.
pub(crate) fn take_hook_panic(task: &Header) -> Option<Box<dyn Any + Send>> {
    task.extras(|extras| extras.panic.take()).flatten()
}

/// Marks the waits of a task as not to be cut short.
pub(super) struct Borrowing<'a>(&'a Header);

impl<'a> Borrowing<'a> {
    pub(super) fn begin(task: &'a Header) -> Self {
        task.borrowing.set(task.borrowing.get() + 1);
        Self(task)
    }
}

impl Drop for Borrowing<'_> {
    fn drop(&mut self) {
        self.0.borrowing.set(self.0.borrowing.get() - 1);
    }
}

/// Returns the hooks to the header, also when a callback panics.
struct PutBack<'a> {
    task: &'a Header,
    hooks: Vec<Hook>,
}

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        let mut hooks = std::mem::take(&mut self.hooks);
        let dead: Vec<Hook> = hooks.extract_if(.., |hook| !hook.alive.get()).collect();
        self.task.make_extras(|extras| {
            extras.in_hook = None;
            hooks.append(&mut extras.hooks);
            extras.hooks = hooks;
            self.task.guarded.set(extras.guards());
        });
        drop(dead);
    }
}
