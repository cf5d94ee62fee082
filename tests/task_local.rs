//! `task_local!`: values that go with a task.

mod common;

use aqueduct::{block_on, go, spawn, task, task_local, yield_now, yield_now_async};
use common::{Drops, watchdog};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

task_local! {
    static NAME: String;
    /// Counts.
    pub static COUNT: AtomicUsize = AtomicUsize::new(0);
    static DROPS: common::Drops;
}
task_local!(static LAST: u8 = 1);

#[test]
fn each_task_has_its_own() {
    let _dog = watchdog!(60);
    assert!(NAME.try_with(String::len).is_err());
    assert!(common::panic_of(|| NAME.get()).contains("not set"));
    let tasks: Vec<_> = (0..20)
        .map(|i| {
            let check = move |round| {
                assert_eq!(NAME.get(), format!("task {i}"));
                assert_eq!(COUNT.with(|count| count.fetch_add(1, SeqCst)), round);
            };
            if i % 2 == 0 {
                go(move || {
                    NAME.set(format!("task {i}"));
                    (0..50).for_each(|round| {
                        check(round);
                        yield_now();
                    });
                })
            } else {
                spawn(async move {
                    NAME.set(format!("task {i}"));
                    for round in 0..50 {
                        check(round);
                        yield_now_async().await;
                    }
                })
            }
        })
        .collect();
    tasks.into_iter().for_each(|task| task.join().unwrap());
    assert!(NAME.try_with(String::len).is_err());
    assert_eq!(LAST.get(), 1);
}

#[test]
fn scopes_nest_and_end_with_panics() {
    let _dog = watchdog!(60);
    let body = || {
        LAST.scope(2, || {
            yield_now();
            LAST.scope(3, || assert_eq!(LAST.get(), 3));
            let text = common::panic_of(|| LAST.scope(4, || panic!("{}", LAST.get())));
            assert_eq!(text, "4");
            assert_eq!(LAST.get(), 2);
        });
        assert_eq!(LAST.get(), 1);
        NAME.scope("inside".into(), || assert_eq!(NAME.get(), "inside"));
        assert!(NAME.try_with(|_| ()).is_err());
    };
    body();
    go(body).join().unwrap();
}

#[test]
fn futures_of_one_task_keep_theirs_apart() {
    let _dog = watchdog!(60);
    let one = |value: u8| {
        LAST.scope_async(value, async move {
            for _ in 0..10 {
                assert_eq!(LAST.get(), value);
                yield_now_async().await;
            }
        })
    };
    let both = move || async move {
        futures::join!(one(5), one(6));
        assert_eq!(LAST.get(), 1);
    };
    block_on(both());
    spawn(both()).join().unwrap();
}

#[test]
fn children_inherit_on_request_and_values_end_with_the_last() {
    let _dog = watchdog!(60);
    let drops = Drops::new();
    struct Counted(#[expect(dead_code, reason = "held")] common::Counted);
    task_local!(static HELD: Counted);
    let one = drops.one();
    go(move || {
        HELD.set(Counted(one));
        NAME.set("parent".into());
        assert!(go(|| NAME.try_with(|_| ()).is_err()).join().unwrap());
        let child = go(task::inherit(|| {
            let name = NAME.get();
            NAME.set("child".into());
            HELD.with(|_| name)
        }));
        assert_eq!(child.join().unwrap(), "parent");
        assert_eq!(NAME.get(), "parent");
        assert_eq!(spawn(task::inherit_async(async { NAME.get() })).join().unwrap(), "parent");
    })
    .join()
    .unwrap();
    common::until(|| drops.dropped() == 1);
}
