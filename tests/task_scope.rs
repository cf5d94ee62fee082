//! `task::scope` and `time::within`: children that borrow, whatever happens to them and to their parent.

mod common;

use aqueduct::task::{self, scope};
use aqueduct::{JoinHandle, go, spawn, task_local, time, yield_now};
use common::{Drops, Latch, OnDrop, panic_of, panic_text, watchdog};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};

/// On a plain thread, in a coroutine, and inside the poll of a future.
fn everywhere(test: fn()) {
    test();
    go(test).join().unwrap();
    spawn(async move { test() }).join().unwrap();
    let runtime = aqueduct::LocalRuntime::new().unwrap();
    runtime.block_on(async move { test() });
}

#[test]
fn children_borrow_and_are_joined() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let mut numbers = vec![0; 100];
        let sum = scope(|s| {
            for (i, number) in numbers.iter_mut().enumerate() {
                if i % 2 == 0 {
                    s.go(move || {
                        yield_now();
                        *number = i;
                    });
                } else {
                    s.spawn(async move {
                        aqueduct::yield_now_async().await;
                        *number = i;
                    });
                }
            }
            s.go(|| 5).join().unwrap()
        });
        assert_eq!(sum, 5);
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn children_start_children_and_scopes_nest() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let count = AtomicUsize::new(0);
        scope(|s| {
            s.go(|| {
                s.go(|| count.fetch_add(1, SeqCst));
                scope(|inner| {
                    for _ in 0..3 {
                        inner.go(|| {
                            yield_now();
                            count.fetch_add(1, SeqCst)
                        });
                    }
                });
                assert!(count.load(SeqCst) >= 3);
            });
        });
        assert_eq!(count.load(SeqCst), 4);
    });
}

#[test]
fn a_parents_panic_cancels_joins_and_goes_on() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let drops = Drops::new();
        let text = panic_of(|| {
            let borrowed = drops.clone();
            scope(|s| {
                let (started, has_started) = (Latch::new(), Latch::new());
                s.go({
                    let started = started.clone();
                    || {
                        let _counted = borrowed.one();
                        let started = started;
                        started.open();
                        pending::<()>().await_here();
                    }
                });
                s.spawn({
                    let (borrowed, started) = (&borrowed, has_started.clone());
                    async move {
                        let _counted = borrowed.one();
                        started.open();
                        pending::<()>().await
                    }
                });
                started.wait();
                has_started.wait();
                panic!("of the parent");
            })
        });
        assert_eq!(text, "of the parent");
        assert_eq!((drops.made(), drops.dropped()), (2, 2));
    });
}

trait AwaitHere: Future + Sized {
    fn await_here(self) -> Self::Output {
        aqueduct::block_on(self)
    }
}
impl<F: Future> AwaitHere for F {}

#[test]
fn the_first_unjoined_panic_goes_on_after_all_have_ended() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let (first, finished) = (Latch::new(), AtomicBool::new(false));
        let text = panic_of(|| {
            scope(|s| {
                s.go(|| {
                    first.wait();
                    panic!("the second");
                });
                s.go(|| {
                    let _first = OnDrop::new(|| first.open());
                    panic!("the first");
                });
                s.go(|| {
                    first.wait();
                    (0..10).for_each(|_| yield_now());
                    finished.store(true, SeqCst);
                });
            })
        });
        // The latch opens as the first one unwinds; on another worker the second may panic before that is over.
        assert!(text == "the first" || text == "the second", "{text}");
        assert!(finished.load(SeqCst), "siblings go on");
    });
}

#[test]
fn a_joined_panic_is_the_joiners() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let value = scope(|s| {
            let error = s.go(|| panic!("seen")).join().unwrap_err();
            assert_eq!(panic_text(&*error.into_panic().unwrap()), "seen");
            let child = s.spawn(pending::<()>());
            child.cancel();
            assert!(child.join().unwrap_err().is_cancelled());
            7
        });
        assert_eq!(value, 7);
    });
}

/// Cancels a task that is inside a scope with children that wait, and returns what became of it.
fn cancelled_in_a_scope(start: impl FnOnce(Latch, Drops) -> JoinHandle<()>) {
    let (latch, drops) = (Latch::new(), Drops::new());
    let parent = start(latch.clone(), drops.clone());
    latch.block_thread();
    parent.cancel();
    assert!(parent.join().unwrap_err().is_cancelled());
    assert_eq!((drops.made(), drops.dropped()), (3, 3));
}

fn scope_that_waits(latch: &Latch, drops: &Drops) {
    let _parent = drops.one();
    let ready = Latch::new();
    scope(|s| {
        s.go(|| {
            let _child = drops.one();
            ready.open();
            pending::<()>().await_here();
        });
        s.spawn(async {
            let _child = drops.one();
            ready.opened().await;
            latch.open();
            pending::<()>().await
        });
    });
    unreachable!("its children never end by themselves");
}

#[test]
fn a_cancelled_parent_cancels_joins_and_unwinds() {
    let _dog = watchdog!(60);
    cancelled_in_a_scope(|latch, drops| go(move || scope_that_waits(&latch, &drops)));
    cancelled_in_a_scope(|latch, drops| spawn(async move { scope_that_waits(&latch, &drops) }));
    // Inside the closure rather than at the end.
    cancelled_in_a_scope(|latch, drops| {
        go(move || {
            let _parent = drops.one();
            scope(|s| {
                s.spawn(async {
                    let _child = drops.one();
                    pending::<()>().await
                });
                s.go(|| {
                    let _child = drops.one();
                    common::until(|| drops.made() == 3);
                    latch.open();
                    pending::<()>().await_here();
                });
                pending::<()>().await_here();
            });
        })
    });
}

#[test]
fn completion_beats_cancellation() {
    let _dog = watchdog!(60);
    let (started, may_end, ended) = (Latch::new(), Latch::new(), Arc::new(AtomicBool::new(false)));
    let parent = go({
        let (started, may_end, ended) = (started.clone(), may_end.clone(), ended.clone());
        move || {
            let value = scope(|s| {
                s.go(|| {
                    task::shield(|| {
                        started.open();
                        may_end.wait();
                    });
                });
                7
            });
            ended.store(true, SeqCst);
            value
        }
    });
    started.block_thread();
    parent.cancel();
    may_end.open();
    assert_eq!(parent.join().unwrap(), 7);
    assert!(ended.load(SeqCst));
}

#[test]
fn a_shielded_scope_is_not_cancelled() {
    let _dog = watchdog!(60);
    let (started, may_end) = (Latch::new(), Latch::new());
    let parent = go({
        let (started, may_end) = (started.clone(), may_end.clone());
        move || {
            task::shield(|| {
                scope(|s| {
                    s.go(|| {
                        started.open();
                        may_end.wait();
                        1
                    })
                    .join()
                    .unwrap()
                })
            })
        }
    });
    started.block_thread();
    parent.cancel();
    may_end.open();
    assert_eq!(parent.join().unwrap(), 1);
}

#[test]
fn leaked_and_dropped_handles_are_sound() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let drops = Drops::new();
        scope(|s| {
            std::mem::forget(s.go(|| drops.one()));
            for _ in 0..100 {
                drop(s.go(|| drops.one()));
                drop(s.spawn(async { drops.one() }));
            }
        });
        assert_eq!((drops.made(), drops.dropped()), (201, 200));
    });
}

#[test]
fn a_value_with_a_panicking_destructor_is_a_childs_panic() {
    let _dog = watchdog!(60);
    struct Bomb<'a>(&'a AtomicUsize);
    impl Drop for Bomb<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
            panic!("a destructor");
        }
    }
    let count = AtomicUsize::new(0);
    let text = panic_of(|| {
        scope(|s| {
            s.go(|| Bomb(&count));
        })
    });
    assert_eq!((text.as_str(), count.load(SeqCst)), ("a destructor", 1));
    // The future's own destructor, with the value at hand, and the handle leaked.
    let count = AtomicUsize::new(0);
    let text = catch_unwind(AssertUnwindSafe(|| {
        scope(|s| {
            let bomb = Bomb(&count);
            std::mem::forget(s.spawn(async move {
                let _bomb = bomb;
            }));
        });
    }));
    drop(text);
    assert_eq!(count.load(SeqCst), 1);
}

#[test]
fn children_started_by_a_thrown_away_value_are_waited_for() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let (detached, ended) = (Latch::new(), Latch::new());
        scope(|s| {
            let child = s.go({
                let (detached, ended) = (detached.clone(), ended.clone());
                move || {
                    // Nobody wants its value, which is dropped when the last child has ended.
                    detached.wait();
                    OnDrop::new(move || {
                        drop(s.go(move || {
                            time::sleep(Duration::from_millis(10));
                            ended.open();
                        }));
                    })
                }
            });
            drop(child);
            detached.open();
        });
        assert!(ended.is_open(), "the scope has returned before its child ended");
    });
}

task_local! {
    static LAST_WORDS: OnDrop<fn()>;
}

#[test]
fn a_value_thrown_away_for_a_task_locals_panic_goes_before_the_scope_returns() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let drops = Drops::new();
        scope(|s| {
            // Leaked: the scope knows only that the child has ended.
            std::mem::forget(s.go(|| {
                LAST_WORDS.set(OnDrop::new(|| {
                    time::sleep(Duration::from_millis(10));
                    panic!("a task-local's destructor");
                }));
                drops.one()
            }));
        });
        assert_eq!((drops.made(), drops.dropped()), (1, 1));
    });
}

#[test]
fn a_forbidding_guard_does_not_let_the_parent_go() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let done = AtomicBool::new(false);
        let _guard = scope(|s| {
            let may_go = Latch::new();
            s.go({
                let may_go = may_go.clone();
                || {
                    let may_go = may_go;
                    may_go.wait();
                    (0..10).for_each(|_| yield_now());
                    done.store(true, SeqCst);
                }
            });
            may_go.open();
            aqueduct::wait::forbid()
        });
        assert!(done.load(SeqCst));
        assert!(panic_of(|| scope(|_| ())).contains("forbidden"));
    });
}

#[test]
fn a_child_that_joins_itself_is_refused() {
    let _dog = watchdog!(60);
    everywhere(|| {
        scope(|s| {
            let (own, filled) = (Arc::new(std::sync::Mutex::new(None)), Latch::new());
            let child = s.go({
                let (own, filled) = (own.clone(), filled.clone());
                move || {
                    filled.wait();
                    let own: task::ScopedJoinHandle<'_, ()> = common::lock(&own).take().unwrap();
                    assert!(own.join().unwrap_err().is_deadlock());
                }
            });
            *common::lock(&own) = Some(child);
            filled.open();
        });
    });
}

#[test]
fn a_cancelled_scope_starts_nothing_more() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let ran = AtomicBool::new(false);
        scope(|s| {
            s.cancel();
            let child = s.go(|| {
                ran.store(true, SeqCst);
            });
            assert!(child.join().unwrap_err().is_cancelled());
            assert!(s.spawn(async { 1 }).join().unwrap_err().is_cancelled());
        });
        assert!(!ran.load(SeqCst));
    });
}

#[test]
fn many_children_leave_nothing_behind() {
    let _dog = watchdog!(60);
    let sum = AtomicUsize::new(0);
    scope(|s| {
        for i in 0..20_000 {
            let child = s.go(|| sum.fetch_add(1, SeqCst));
            if i % 3 == 0 {
                child.join().unwrap();
            }
        }
    });
    assert_eq!(sum.load(SeqCst), 20_000);
}

#[test]
fn within_returns_or_cancels() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let words = ["one", "two"];
        assert_eq!(time::within(Duration::from_secs(30), || words.len()), Ok(2));
        let drops = Drops::new();
        let late = time::within(Duration::from_millis(2), || {
            let _counted = drops.one();
            pending::<()>().await_here();
        });
        assert!(late.is_err());
        assert_eq!((drops.made(), drops.dropped()), (1, 1));
        // It had its value, and is not cut short.
        let latch = Latch::new();
        let shielded = time::within_deadline(Instant::now(), || task::shield(|| latch.is_open()));
        assert!(matches!(shielded, Ok(false) | Err(_)));
        assert_eq!(panic_of(|| time::within(Duration::from_secs(30), || panic!("inside"))), "inside");
    });
}

#[test]
fn a_cancelled_caller_of_within_waits_for_it() {
    let _dog = watchdog!(60);
    let (started, drops) = (Latch::new(), Drops::new());
    let caller = go({
        let (started, drops) = (started.clone(), drops.clone());
        move || {
            time::within(Duration::from_secs(600), || {
                let _counted = drops.one();
                started.open();
                pending::<()>().await_here();
            })
        }
    });
    started.block_thread();
    caller.cancel();
    assert!(caller.join().unwrap_err().is_cancelled());
    assert_eq!((drops.made(), drops.dropped()), (1, 1));
}
