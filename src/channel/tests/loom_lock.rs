//! The lock itself, which the other models take for granted.

use crate::channel::lock::spinning::ChannelLock;
use crate::model::explore;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// Two parties at a value that is not atomic: the checker reports two at once, and a write that is not seen.
#[test]
fn holders_see_each_others_writes_and_are_alone() {
    explore(|| {
        let shared = Arc::new((ChannelLock::new(), UnsafeCell::new(0)));
        let add = |shared: &(ChannelLock, UnsafeCell<u32>)| {
            shared.0.lock();
            // SAFETY: the lock is held.
            shared.1.with_mut(|value| unsafe { *value += 1 });
            // SAFETY: it is held by this thread.
            unsafe { shared.0.unlock() };
        };
        let other = {
            let shared = shared.clone();
            thread::spawn(move || add(&shared))
        };
        add(&shared);
        other.join().unwrap();
        // SAFETY: the other thread has ended.
        assert_eq!(shared.1.with(|value| unsafe { *value }), 2);
    });
}
