//! Closures that block, on threads made for it.
#![forbid(unsafe_code)]

use crate::primitive::contain_panic;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs a closure that blocks (a file, a system call, a long computation) on a thread of its own; the
/// returned future is its value. `.await` it in async code, `.wait()` it in Go-style code.
///
/// The closure starts at once, not when the future is first polled. Its thread comes from the pool of the
/// `blocking` crate, which the whole process shares: threads are started as needed, up to 500 (the
/// environment variable `BLOCKING_MAX_THREADS` says otherwise, 1 to 10,000), and end when idle. Beyond that
/// closures queue, without a bound and without pushing back: limit how many you have under way.
///
/// # Blocking
/// Waiting suspends this coroutine; outside the scheduler it blocks this thread.
///
/// # Cancel safety
/// *Completes anyway.* Dropping the future abandons the wait: the closure runs to its end, and its value is
/// dropped on its thread.
///
/// # Panics
/// A panic of the closure resumes in whoever waits. Nobody waiting: it has been reported by the panic hook,
/// and that is all.
///
/// # Examples
/// ```
/// use aqueduct::{Wait, blocking};
///
/// let text = blocking(|| std::fs::read_to_string("Cargo.toml")).wait()?;
/// assert!(text.contains("[package]"));
/// # std::io::Result::Ok(())
/// ```
/// ```
/// # use aqueduct::{Wait, blocking};
/// # async {
/// let sum = blocking(|| (1..=10_u64).product::<u64>()).await;
/// assert_eq!(sum, 3_628_800);
/// # }.wait();
/// ```
pub fn blocking<T, F>(f: F) -> Blocking<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Blocking { task: Some(::blocking::unblock(move || Outcome(Some(catch_unwind(AssertUnwindSafe(f)))))) }
}

/// The value of a closure given to [`blocking()`], on its way: a future.
#[must_use = "the closure runs anyway, but its value and its panic are lost unless waited for"]
pub struct Blocking<T> {
    // `None` once its value has been taken.
    task: Option<::blocking::Task<Outcome<T>>>,
}

/// What the closure came to. Dropping it never unwinds: the pool would abort the process.
struct Outcome<T>(Option<Result<T, Box<dyn Any + Send>>>);

impl<T> Drop for Outcome<T> {
    fn drop(&mut self) {
        let result = self.0.take();
        contain_panic(|| drop(result));
    }
}

impl<T> Future for Blocking<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let task = self.task.as_mut().expect("`Blocking` polled after it was ready");
        let mut outcome = std::task::ready!(Pin::new(task).poll(cx));
        self.task = None;
        let result = outcome.0.take().expect("an outcome is taken once");
        Poll::Ready(result.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

impl<T> Drop for Blocking<T> {
    fn drop(&mut self) {
        // Cancelling would take a closure out of the queue, or not, depending on how busy the pool is;
        // detached, what happens is always the same.
        if let Some(task) = self.task.take() {
            task.detach();
        }
    }
}

impl<T> fmt::Debug for Blocking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").field("taken", &self.task.is_none()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wait;
    use std::sync::mpsc;

    #[test]
    fn the_value_arrives() {
        assert_eq!(blocking(|| 6 * 7).wait(), 42);
    }

    #[test]
    fn a_panic_resumes_in_the_waiter() {
        let panic =
            catch_unwind(|| blocking(|| -> () { resume_unwind(Box::new("boom")) }).wait()).unwrap_err();
        assert_eq!(*panic.downcast::<&str>().unwrap(), "boom");
    }

    #[test]
    fn an_abandoned_closure_runs_and_its_value_is_dropped_on_its_thread() {
        struct Tell(mpsc::Sender<std::thread::ThreadId>);
        impl Drop for Tell {
            fn drop(&mut self) {
                let _ = self.0.send(std::thread::current().id());
            }
        }
        let (tell, told) = mpsc::channel();
        let (go, gate) = mpsc::channel::<()>();
        let abandoned = blocking(move || {
            gate.recv().unwrap();
            Tell(tell)
        });
        drop(abandoned);
        go.send(()).unwrap();
        assert_ne!(told.recv().unwrap(), std::thread::current().id());
    }
}
