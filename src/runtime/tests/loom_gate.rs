//! The gate: no entry is left behind a closed gate without those who wait being told when it leaves.

use crate::model::explore_bounded;
use crate::runtime::gate::Gate;
use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;
use std::future::poll_fn;
use std::task::Poll;

struct Scheduler {
    gate: Gate<()>,
    /// How often the workers were told that they may end.
    told: AtomicUsize,
}

impl Scheduler {
    fn new(shards: usize) -> Arc<Self> {
        Arc::new(Self { gate: Gate::new(shards), told: AtomicUsize::new(0) })
    }

    fn finish(&self, shard: usize) {
        self.gate.leave(shard, |()| ());
        if self.gate.has_left() {
            self.tell_workers();
        }
    }

    fn begin_shutdown(&self) {
        self.gate.close();
        if self.gate.tell() {
            self.tell_workers();
        }
    }

    fn tell_workers(&self) {
        assert_eq!(self.gate.live(), 0);
        assert!(self.gate.is_closed());
        self.told.fetch_add(1, Relaxed);
    }

    /// Waits until so many are left. Deadlocks, and so fails the model, when one who leaves does not tell.
    fn wait_for(&self, left: usize) {
        loom::future::block_on(poll_fn(|cx| {
            self.gate.wait(cx.waker());
            if self.gate.live() <= left { Poll::Ready(()) } else { Poll::Pending }
        }));
    }
}

#[test]
fn an_entry_is_refused_or_waited_for() {
    explore_bounded(4, || {
        let scheduler = Scheduler::new(1);
        let spawner = {
            let scheduler = scheduler.clone();
            thread::spawn(move || {
                if scheduler.gate.enter(0, |()| ()) {
                    scheduler.finish(0);
                }
                // Not after the shutdown has been waited for.
                !scheduler.gate.enter(0, |()| ())
            })
        };
        scheduler.begin_shutdown();
        assert!(!scheduler.gate.enter(0, |()| ()));
        if spawner.join().unwrap() {
            scheduler.wait_for(0);
            assert!(scheduler.told.load(Relaxed) > 0);
        }
    });
}

#[test]
fn who_waits_is_told_of_the_last_to_leave() {
    explore_bounded(3, || {
        let scheduler = Scheduler::new(2);
        (0..2).for_each(|shard| assert!(scheduler.gate.enter(shard, |()| ())));
        let leaving = [0, 1].map(|shard| {
            let scheduler = scheduler.clone();
            thread::spawn(move || scheduler.finish(shard))
        });
        scheduler.begin_shutdown();
        scheduler.wait_for(0);
        leaving.into_iter().for_each(|leaving| leaving.join().unwrap());
        assert!(scheduler.told.load(Relaxed) > 0, "the workers may end, and do not know");
    });
}

/// Closing and waiting on different threads, as when one drops a runtime whose shutdown another awaits.
#[test]
fn the_closer_need_not_be_the_one_who_waits() {
    explore_bounded(3, || {
        let scheduler = Scheduler::new(1);
        assert!(scheduler.gate.enter(0, |()| ()));
        scheduler.gate.close();
        let closer = {
            let scheduler = scheduler.clone();
            thread::spawn(move || scheduler.begin_shutdown())
        };
        let leaving = {
            let scheduler = scheduler.clone();
            thread::spawn(move || scheduler.finish(0))
        };
        scheduler.wait_for(0);
        closer.join().unwrap();
        leaving.join().unwrap();
        assert!(scheduler.told.load(Relaxed) > 0);
    });
}

/// As a shutdown from inside: the caller's own task stays.
#[test]
fn who_waits_inside_is_told_of_the_others() {
    explore_bounded(3, || {
        let scheduler = Scheduler::new(2);
        (0..2).for_each(|shard| assert!(scheduler.gate.enter(shard, |()| ())));
        let leaving = {
            let scheduler = scheduler.clone();
            thread::spawn(move || scheduler.finish(1))
        };
        scheduler.begin_shutdown();
        scheduler.wait_for(1);
        scheduler.finish(0);
        leaving.join().unwrap();
        assert!(scheduler.told.load(Relaxed) > 0);
    });
}
