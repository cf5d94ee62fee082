//! Homes change hands.

use crate::LocalRuntime;
use crate::runtime::current;

/// The scheduler of a runtime that has ended no longer has a say over its home, which the next runtime has by
/// now (unless a test beside this one was quicker).
#[test]
fn ended_scheduler_leaves_the_next_tenant_alone() {
    let first = LocalRuntime::new().unwrap();
    let ended = first.run(|| current::scheduler().expect("we are on a runtime"));
    drop(first);
    let next = LocalRuntime::new().unwrap();
    let sum = next.run(|| {
        let before = crate::spawn_local(async { 1 });
        ended.begin_shutdown();
        assert!(ended.is_over());
        let after = crate::spawn_local(async { 2 });
        before.join().unwrap() + after.join().unwrap()
    });
    assert_eq!(sum, 3);
}
