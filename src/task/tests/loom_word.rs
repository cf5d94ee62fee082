//! The state word of a task: no wake is lost, one runnable at a time, the result goes to one party, the task is freed once and by
//! the last who knows it.

use crate::model::{Poller, explore, explore_bounded};
use crate::primitive::UnsafeCell;
use crate::task::word::{Detached, Next, Word};
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;
use std::task::{Wake, Waker};

/// A task without a future. It is shared by an `Arc` of the checker's; "freed" is when the word says so.
struct Task {
    word: Word,
    result: UnsafeCell<Option<u32>>,
    freed: UnsafeCell<bool>,
    /// Notified when there is a runnable.
    queue: Poller,
    /// What its poll looks at.
    ready: AtomicBool,
}

impl Task {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            word: Word::new(),
            result: UnsafeCell::new(None),
            freed: UnsafeCell::new(false),
            queue: Poller::new(),
            ready: AtomicBool::new(false),
        })
    }

    /// What every party does before it uses the word: the checker complains unless that comes before the freeing.
    fn touch(&self) -> &Word {
        // SAFETY: written to by whoever frees it.
        self.freed.with(|freed| assert!(!unsafe { *freed }, "it has been freed"));
        &self.word
    }

    fn follow(&self, next: Next) {
        match next {
            Next::Nothing => {}
            Next::Schedule => self.queue.notify(),
            Next::Free => self.freed.with_mut(|freed| {
                // SAFETY: nobody else knows the task.
                assert!(!std::mem::replace(unsafe { &mut *freed }, true), "freed twice");
                // SAFETY: as above.
                self.result.with(|result| assert!(unsafe { (*result).is_none() }, "the result has leaked"));
            }),
        }
    }

    fn take_result(&self) -> Option<u32> {
        // SAFETY: the caller owns the result.
        self.result.with_mut(|result| unsafe { (*result).take() })
    }

    /// The runner: the first runnable is there, the others are announced. The poll is over when `ready` is set.
    fn run(&self) {
        loop {
            self.touch().start();
            if self.ready.load(Relaxed) {
                return self.complete();
            }
            match self.touch().pause() {
                Next::Schedule => {}
                _ => self.queue.wait(),
            }
        }
    }

    fn complete(&self) {
        // SAFETY: the runner's, until the word says otherwise.
        self.result.with_mut(|result| unsafe { *result = Some(7) });
        let completion = self.touch().complete();
        if completion.is_detached {
            assert_eq!(self.take_result(), Some(7));
        }
        if let Some(awaiter) = completion.awaiter {
            awaiter.wake();
        }
        let next = self.touch().drop_reference();
        self.follow(next);
    }

    /// The joiner: waits with each waker in turn, then for the end.
    fn join(&self, joiners: &[std::sync::Arc<Joiner>]) {
        for joiner in joiners {
            // SAFETY: the only handle.
            if unsafe { self.touch().wait(&Waker::from(joiner.clone())) } {
                return self.take_as_joiner();
            }
        }
        let last = joiners.last().expect("there is one");
        while !self.touch().is_completed() {
            last.0.wait();
        }
        self.take_as_joiner();
    }

    fn take_as_joiner(&self) {
        assert_eq!(self.take_result(), Some(7));
        // SAFETY: the only handle.
        assert!(matches!(unsafe { self.touch().detach() }, Detached::Completed));
        let next = self.touch().drop_handle();
        self.follow(next);
    }

    fn detach(&self) {
        // SAFETY: the only handle.
        match unsafe { self.touch().detach() } {
            Detached::GoesOn(awaiter) => drop(awaiter),
            Detached::Completed => {
                assert_eq!(self.take_result(), Some(7));
                let next = self.touch().drop_handle();
                self.follow(next);
            }
        }
    }

    fn assert_freed(&self) {
        // SAFETY: the others have ended.
        self.freed.with(|freed| assert!(unsafe { *freed }, "it has leaked"));
    }
}

struct Joiner(Poller);

impl Joiner {
    fn new() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self(Poller::new()))
    }
}

impl Wake for Joiner {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.notify();
    }
}

/// Runs `other` on a second thread against `first` on this one.
fn against(task: &Arc<Task>, first: impl FnOnce(&Task), other: impl FnOnce(&Task) + 'static) {
    let thread = {
        let task = task.clone();
        thread::spawn(move || other(&task))
    };
    first(task);
    thread.join().unwrap();
    task.assert_freed();
}

/// A waker that stays and is dropped later: it is not the last to know the task, and the run sees what was done before the wake.
#[test]
fn a_wake_during_a_run_is_not_lost() {
    explore(|| {
        let task = Task::new();
        task.word.add_reference();
        task.detach();
        against(&task, Task::run, |task| {
            task.ready.store(true, Relaxed);
            let next = task.touch().wake();
            task.follow(next);
            let next = task.touch().drop_reference();
            task.follow(next);
        });
    });
}

/// A task that wakes itself is queued again without a pause. One that wakes it then, in the queue or in the run that follows, is not
/// lost: that run sees what was done before, or there is another.
#[test]
fn a_wake_of_a_task_that_has_woken_itself_is_not_lost() {
    explore(|| {
        let task = Task::new();
        task.word.add_reference();
        task.detach();
        let first = |task: &Task| {
            task.touch().start();
            task.run();
        };
        against(&task, first, |task| {
            task.ready.store(true, Relaxed);
            let next = task.touch().wake_and_drop();
            task.follow(next);
        });
    });
}

#[test]
fn of_two_wakes_one_makes_the_runnable() {
    explore_bounded(2, || {
        let task = Task::new();
        task.word.add_reference();
        task.word.add_reference();
        task.detach();
        let third = {
            let task = task.clone();
            thread::spawn(move || {
                let next = task.touch().wake_and_drop();
                task.follow(next);
            })
        };
        let second = {
            let task = task.clone();
            thread::spawn(move || {
                task.ready.store(true, Relaxed);
                let next = task.touch().wake_and_drop();
                task.follow(next);
            })
        };
        task.run();
        second.join().unwrap();
        third.join().unwrap();
        task.assert_freed();
    });
}

#[test]
fn the_joiner_is_woken_or_sees_the_end() {
    explore(|| {
        let (task, joiner) = (Task::new(), Joiner::new());
        task.ready.store(true, Relaxed);
        let joiners = [joiner.clone()];
        against(&task, move |task| task.join(&joiners), Task::run);
        assert_eq!(std::sync::Arc::strong_count(&joiner), 1, "no waker is left behind");
    });
}

#[test]
fn the_joiner_may_change_its_waker() {
    explore(|| {
        let task = Task::new();
        let (first, second) = (Joiner::new(), Joiner::new());
        task.ready.store(true, Relaxed);
        let joiners = [first.clone(), first.clone(), second.clone()];
        against(&task, move |task| task.join(&joiners), Task::run);
        assert_eq!(std::sync::Arc::strong_count(&first), 1);
        assert_eq!(std::sync::Arc::strong_count(&second), 1);
    });
}

#[test]
fn a_handle_that_goes_leaves_the_result_to_the_runner_or_takes_it() {
    explore(|| {
        let (task, joiner) = (Task::new(), Joiner::new());
        task.ready.store(true, Relaxed);
        let waker = Waker::from(joiner.clone());
        against(
            &task,
            move |task| {
                // SAFETY: the only handle.
                let _ = unsafe { task.touch().wait(&waker) };
                task.detach();
            },
            Task::run,
        );
        assert_eq!(std::sync::Arc::strong_count(&joiner), 1, "the waker went with the handle, or was woken");
    });
}

/// The runner, the joiner and a waker: whoever is last frees the task.
#[test]
fn the_last_of_three_frees_the_task() {
    explore_bounded(3, || {
        let (task, joiner) = (Task::new(), Joiner::new());
        task.word.add_reference();
        task.ready.store(true, Relaxed);
        let waker = {
            let task = task.clone();
            thread::spawn(move || {
                let next = task.touch().wake_and_drop();
                task.follow(next);
            })
        };
        let runner = {
            let task = task.clone();
            thread::spawn(move || task.run())
        };
        task.join(&[joiner]);
        runner.join().unwrap();
        waker.join().unwrap();
        task.assert_freed();
    });
}
