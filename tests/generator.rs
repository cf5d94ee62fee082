//! Coroutines by hand and generators: values, panics, drops, borrowing in scopes, nesting, and waits inside.

mod common;

use aqueduct::generator::{Coroutine, Generator, ScopedCoroutine, Step, Suspender};
use aqueduct::sync::Notify;
use aqueduct::{LocalRuntime, block_on, go, spawn_local, task, yield_now};
use common::{Drops, OnDrop, panic_of, watchdog};
use futures::StreamExt;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::Poll;

/// On a plain thread, in a coroutine, and inside the poll of a future.
fn everywhere(test: fn()) {
    test();
    go(test).join().unwrap();
    aqueduct::spawn(async move { test() }).join().unwrap();
}

#[test]
fn values_go_in_and_out() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let mut echo = Coroutine::new(|suspender, mut value: u32| {
            while value != 0 {
                value = suspender.suspend(value.to_string());
            }
            "end"
        });
        assert_eq!(echo.resume(1), Step::Suspended("1".into()));
        assert_eq!(echo.resume(2), Step::Suspended("2".into()));
        assert!(!echo.is_finished());
        assert_eq!(echo.resume(0), Step::Finished("end"));
        assert!(echo.is_finished());
        assert!(panic_of(|| echo.resume(0)).contains("has finished"));
    });
}

#[test]
fn a_body_borrows_and_is_borrowed_from() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let words = ["one".to_string(), "two".to_string()];
        let mut lengths = Vec::new();
        let items = ScopedCoroutine::new(|items, ()| {
            for word in &words {
                lengths.push(word.len());
                items.suspend(word.as_str());
            }
        });
        assert_eq!(items.scope(|items| items.collect::<Vec<_>>()), ["one", "two"]);
        assert_eq!(lengths, [3, 3]);
    });
}

#[test]
fn a_dropped_body_is_unwound() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let drops = Drops::new();
        let body = |drops: Drops| {
            move |suspender: &Suspender<'_, (), ()>, ()| {
                let _counted = drops.one();
                suspender.suspend(());
                unreachable!("it is not resumed");
            }
        };
        drop(Coroutine::<(), (), ()>::new(body(drops.clone())));
        assert_eq!(drops.made(), 0);
        let mut coroutine = Coroutine::new(body(drops.clone()));
        assert_eq!(coroutine.resume(()), Step::Suspended(()));
        drop(coroutine);
        assert_eq!((drops.made(), drops.dropped()), (1, 1));
        // Also while its owner unwinds.
        let text = panic_of(|| {
            let mut coroutine = Coroutine::new(body(drops.clone()));
            coroutine.resume(());
            panic!("of the owner");
        });
        assert_eq!((text.as_str(), drops.dropped()), ("of the owner", 2));
    });
}

#[test]
fn a_body_that_goes_on_when_dropped_is_leaked() {
    let (drops, rounds) = (Drops::new(), Rc::new(Cell::new(0)));
    let mut coroutine = Coroutine::<(), (), ()>::new({
        let (drops, rounds) = (drops.clone(), rounds.clone());
        move |suspender, ()| {
            let _counted = drops.one();
            loop {
                let _ = catch_unwind(AssertUnwindSafe(|| suspender.suspend(())));
                rounds.set(rounds.get() + 1);
            }
        }
    });
    coroutine.resume(());
    drop(coroutine);
    assert_eq!((rounds.get(), drops.dropped()), (16, 0));
}

#[test]
fn a_panic_comes_out_of_resume() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let mut items = Generator::new(|items| {
            items.suspend(1);
            panic!("inside");
        });
        assert_eq!(items.next(), Some(1));
        assert_eq!(panic_of(|| items.next()), "inside");
        assert_eq!(items.next(), None);
        // And out of a drop.
        let mut items = Generator::new(|items| {
            let dropped = catch_unwind(AssertUnwindSafe(|| items.suspend(1)));
            assert!(dropped.is_err());
            panic!("instead");
        });
        items.next();
        assert_eq!(panic_of(|| drop(items)), "instead");
    });
}

// ---- scopes

/// A body that has counted its frame and is suspended, and goes on to borrow.
fn counting<'a>(drops: &'a Drops) -> ScopedCoroutine<'a, (), (), ()> {
    ScopedCoroutine::new(|suspender, ()| {
        let _counted = drops.one();
        suspender.suspend(());
        unreachable!("it is not resumed");
    })
}

#[test]
fn a_scope_ends_its_body_however_it_ends() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let drops = Drops::new();
        counting(&drops).scope(|_| ());
        drop(counting(&drops));
        assert_eq!(drops.made(), 0);
        let value = counting(&drops).scope(|mut coroutine| {
            assert_eq!(coroutine.resume(()), Step::Suspended(()));
            7
        });
        assert_eq!((value, drops.made(), drops.dropped()), (7, 1, 1));
        counting(&drops).scope(|mut coroutine| {
            coroutine.resume(());
            let _forgotten = ManuallyDrop::new(coroutine);
        });
        assert_eq!(drops.dropped(), 2);
        let text = panic_of(|| {
            counting(&drops).scope(|mut coroutine| {
                coroutine.resume(());
                panic!("of the scope");
            })
        });
        assert_eq!((text.as_str(), drops.dropped()), ("of the scope", 3));
        // A body that panics instead of unwinding has ended too.
        let text = panic_of(|| {
            ScopedCoroutine::<(), (), ()>::new(|suspender, ()| {
                let _counted = drops.one();
                let _ = catch_unwind(AssertUnwindSafe(|| suspender.suspend(())));
                panic!("instead");
            })
            .scope(|mut coroutine| {
                coroutine.resume(());
            });
        });
        assert_eq!((text.as_str(), drops.dropped()), ("instead", 4));
    });
}

#[test]
fn a_scope_in_a_body_ends_with_that_body() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let drops = Drops::new();
        let nested = |drops: Drops| {
            Coroutine::<(), (), ()>::new(move |suspender, ()| {
                counting(&drops).scope(|mut inner| {
                    inner.resume(());
                    suspender.suspend(());
                });
            })
        };
        let mut coroutine = nested(drops.clone());
        coroutine.resume(());
        drop(coroutine);
        assert_eq!((drops.made(), drops.dropped()), (1, 1));
        let mut coroutine = nested(drops.clone());
        coroutine.resume(());
        assert_eq!(coroutine.resume(()), Step::Finished(()));
        assert_eq!((drops.made(), drops.dropped()), (2, 2));
        // Its frames are forgotten, and those that they borrow from with them.
        let mut coroutine = nested(drops.clone());
        coroutine.resume(());
        std::mem::forget(coroutine);
        assert_eq!((drops.made(), drops.dropped()), (3, 2));
    });
}

#[test]
fn a_cancelled_task_ends_its_scopes() {
    let _dog = watchdog!(60);
    for waits_in_the_body in [false, true] {
        let (drops, started) = (Drops::new(), common::Latch::new());
        let task = go({
            let (drops, started) = (drops.clone(), started.clone());
            move || {
                let coroutine = ScopedCoroutine::new(|suspender, ()| {
                    let _counted = drops.one();
                    if waits_in_the_body {
                        started.open();
                        block_on(std::future::pending())
                    }
                    suspender.suspend(());
                });
                coroutine.scope(|mut coroutine| {
                    coroutine.resume(());
                    started.open();
                    block_on(std::future::pending::<()>())
                })
            }
        });
        started.block_thread();
        task.cancel();
        assert!(task.join().unwrap_err().is_cancelled());
        assert_eq!((drops.made(), drops.dropped()), (1, 1));
    }
}

/// What a body has lent to others has come back when its scope is over, whatever becomes of what is lent to the closure.
#[test]
fn what_a_body_borrows_is_not_used_after_its_scope() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let mut data = vec![1];
        let (look, looks) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let shared = &data;
        let coroutine = ScopedCoroutine::<(), (), ()>::new(move |suspender, ()| {
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    looks.recv().unwrap();
                    answer.send(shared.len()).unwrap();
                });
                suspender.suspend(());
            });
        });
        coroutine.scope(|mut coroutine| {
            coroutine.resume(());
            let _forgotten = ManuallyDrop::new(coroutine);
            look.send(()).unwrap();
        });
        data.push(2);
        assert_eq!(answers.recv(), Ok(1));
    });
}

#[test]
fn a_scoped_coroutine_belongs_to_its_scopes_task() {
    let _dog = watchdog!(60);
    let drops = Drops::new();
    counting(&drops).scope(|mut coroutine| {
        let elsewhere = LocalRuntime::new().unwrap().block_on(async { panic_of(|| coroutine.resume(())) });
        assert!(elsewhere.contains("another task"));
        assert_eq!(coroutine.resume(()), Step::Suspended(()));
    });
    assert_eq!((drops.made(), drops.dropped()), (1, 1));
}

#[test]
fn a_body_that_cannot_be_ended_aborts_the_process() {
    let path = common::test_path!();
    let swallows = |suspender: &Suspender<'_, (), ()>, ()| {
        loop {
            let _ = catch_unwind(AssertUnwindSafe(|| suspender.suspend(())));
        }
    };
    let ended = common::Child::new(path).run("it goes on", || {
        ScopedCoroutine::<(), (), ()>::new(swallows).scope(|mut coroutine| {
            coroutine.resume(());
        });
    });
    common::child::assert_says(&ended.aborted(), &["`ScopedCoroutine` cannot be ended"]);
    // As it unwinds, one of the values that it goes on with panics when it is dropped.
    let ended = common::Child::new(path).run("a value panics", || {
        let coroutine = ScopedCoroutine::new(|suspender: &Suspender<'_, (), OnDrop<fn()>>, ()| {
            loop {
                let value = OnDrop::new((|| panic!("dropped")) as fn());
                let _ = catch_unwind(AssertUnwindSafe(|| suspender.suspend(value)));
            }
        });
        let _ = catch_unwind(AssertUnwindSafe(|| {
            coroutine.scope(|mut coroutine| std::mem::forget(coroutine.resume(())))
        }));
    });
    common::child::assert_says(&ended.aborted(), &["dropped", "`ScopedCoroutine` cannot be ended"]);
}

// ---- unwinding

#[test]
fn a_body_that_unwinds_is_not_suspended() {
    let path = common::test_path!();
    let suspends_as_it_unwinds = |suspender: &Suspender<'_, (), ()>, ()| {
        let _suspend = OnDrop::new(|| suspender.suspend(()));
        panic!("of the body");
    };
    let ended = common::Child::new(path).run("", || {
        Coroutine::<(), (), ()>::new(suspends_as_it_unwinds).resume(());
    });
    common::child::assert_says(&ended.aborted(), &["of the body", "while it unwinds"]);
    if common::child::is_child() {
        return;
    }
    // Others are, when a destructor resumes them.
    let text = panic_of(|| {
        let _iterate = OnDrop::new(|| {
            let items = Generator::new(|items| (0..4).for_each(|i| items.suspend(i)));
            assert_eq!(items.sum::<i32>(), 6);
        });
        panic!("of the owner");
    });
    assert_eq!((text.as_str(), std::thread::panicking()), ("of the owner", false));
    // The two together are not told apart, as documented.
    let mut coroutine = Coroutine::<(), (), ()>::new(suspends_as_it_unwinds);
    let text = panic_of(|| {
        let _resume = OnDrop::new(|| assert_eq!(coroutine.resume(()), Step::Suspended(())));
        panic!("of the owner");
    });
    assert_eq!((text.as_str(), std::thread::panicking()), ("of the owner", true));
    assert_eq!(panic_of(|| coroutine.resume(())), "of the body");
    assert!(!std::thread::panicking());
}

// ---- nesting and waits

#[test]
fn coroutines_nest_and_keep_to_their_stacks() {
    let _dog = watchdog!(60);
    everywhere(|| {
        fn count_down(n: u32) -> Generator<u32> {
            Generator::new(move |items| {
                items.suspend(n);
                if n > 0 {
                    count_down(n - 1).for_each(|n| items.suspend(n));
                }
            })
        }
        assert_eq!(count_down(9).collect::<Vec<_>>(), (0..10).rev().collect::<Vec<_>>());
        let mut outer = Coroutine::<(), (), ()>::new(|outer, ()| {
            let inner = ScopedCoroutine::<(), (), ()>::new(|_, ()| outer.suspend(()));
            inner.scope(|mut inner| inner.resume(()));
        });
        assert!(panic_of(|| outer.resume(())).contains("own-stack"));
    });
}

#[test]
fn a_body_waits_and_its_task_is_suspended() {
    let _dog = watchdog!(60);
    everywhere(|| {
        let (notify, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let partner = go({
            let (notify, answer) = (notify.clone(), answer.clone());
            move || {
                for _ in 0..100 {
                    notify.wait();
                    answer.notify_one();
                }
            }
        });
        let items = Generator::new(move |items| {
            for i in 0..100 {
                notify.notify_one();
                answer.wait();
                if task::try_current().is_some() {
                    assert!(task::current().stack().used() < 1 << 20);
                }
                items.suspend(i);
                yield_now();
            }
        });
        assert_eq!(items.map(|i| i / 10).sum::<i32>(), 450);
        partner.join().unwrap();
    });
}

/// A future that is waited for in a body is no place to suspend the body from: the wait would stay behind with the body's frames,
/// while others wait on its record.
#[test]
fn a_body_is_not_suspended_inside_a_wait_of_its_own() {
    let _dog = watchdog!(60);
    let refusal = go(|| {
        let mut coroutine = Coroutine::<(), (), ()>::new(|suspender, ()| {
            block_on(poll_fn(|_| {
                suspender.suspend(());
                Poll::Ready(())
            }));
        });
        panic_of(|| coroutine.resume(()))
    });
    assert!(refusal.join().unwrap().contains("own-waits"));
    // A wait that its owner is in is none of its own.
    let resumed = go(|| {
        let mut coroutine = Coroutine::new(|suspender, ()| {
            (0..3).for_each(|i| suspender.suspend(i));
            3
        });
        let mut sum = 0;
        block_on(poll_fn(move |cx| match coroutine.resume(()) {
            Step::Suspended(i) => {
                sum += i;
                yield_now();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Step::Finished(i) => Poll::Ready(sum + i),
        }))
    });
    assert_eq!(resumed.join().unwrap(), 6);
    // Resumed outside one and inside one, whichever comes first.
    let mixed = go(|| {
        let mut items = Generator::new(|items| (0..4).for_each(|i| items.suspend(i)));
        let first = items.next();
        let second = block_on(async { items.next() });
        (first, second, items.next())
    });
    assert_eq!(mixed.join().unwrap(), (Some(0), Some(1), Some(2)));
}

#[test]
fn parked_bodies_survive_trimming() {
    let _dog = watchdog!(60);
    let runtime = common::runtime(1);
    let (gate, parked) = (common::Latch::new(), common::Latch::new());
    let waiting = runtime.go({
        let (gate, parked) = (gate.clone(), parked.clone());
        move || {
            let frame: Vec<u64> = (0..1000).collect();
            let sum = Generator::new(move |items| {
                let frame = std::hint::black_box([7_u8; 20_000]);
                parked.open();
                gate.wait();
                items.suspend(frame.iter().map(|byte| u64::from(*byte)).sum::<u64>());
            })
            .sum::<u64>();
            sum + frame.iter().sum::<u64>()
        }
    });
    parked.block_thread();
    // Trimming rounds are 100 ms apart, and a coroutine is trimmed in its third.
    std::thread::sleep(std::time::Duration::from_millis(450));
    gate.open();
    assert_eq!(waiting.join().unwrap(), 140_000 + 499_500);
}

#[test]
fn a_cancelled_task_unwinds_the_body_it_waits_in() {
    let _dog = watchdog!(60);
    let (drops, started) = (Drops::new(), common::Latch::new());
    let task = go({
        let (drops, started) = (drops.clone(), started.clone());
        move || {
            let _outer = drops.one();
            let mut items = Generator::<()>::new({
                let drops = drops.clone();
                move |_| {
                    let _inner = drops.one();
                    started.open();
                    block_on(std::future::pending())
                }
            });
            items.next();
        }
    });
    started.block_thread();
    task.cancel();
    assert!(task.join().unwrap_err().is_cancelled());
    assert_eq!((drops.made(), drops.dropped()), (2, 2));
}

#[test]
fn a_coroutine_belongs_to_the_task_that_began_it() {
    let _dog = watchdog!(60);
    aqueduct::run(|| {
        let drops = Drops::new();
        let counted = drops.clone();
        let mut items = Generator::new(move |items| {
            let _counted = counted.one();
            (0..1000).for_each(|i| items.suspend(i));
        });
        assert_eq!(items.next(), Some(0));
        let items = Rc::new(RefCell::new(items));
        let other = spawn_local({
            let items = items.clone();
            async move { panic_of(|| items.borrow_mut().next()) }
        });
        assert!(other.join().unwrap().contains("another task"));
        drop(items);
        assert_eq!(drops.dropped(), 0, "leaked by the panic in the other task");
    });
}

#[test]
fn a_stream_of_items() {
    let _dog = watchdog!(60);
    let sum = aqueduct::run(|| {
        block_on(async {
            let items = Generator::new(|items| (0..1000).for_each(|n| items.suspend(n)));
            items
                .stream()
                .filter(|n| std::future::ready(n % 2 == 0))
                .fold(0, |sum, n| async move { sum + n })
                .await
        })
    });
    assert_eq!(sum, 249_500);
    let mut fused = Box::pin(Generator::new(|items| items.suspend(1)).stream());
    assert_eq!(
        block_on(async { (fused.next().await, fused.next().await, fused.next().await) }),
        (Some(1), None, None)
    );
    assert!(Coroutine::<(), (), ()>::with_stack_size(1, |_, ()| ()).is_err());
}
