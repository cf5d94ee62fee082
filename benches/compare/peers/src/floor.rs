//! What a switch costs where nobody schedules: bare corosensei coroutines, resumed in turn by one thread. A limit, not a peer.

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use workloads::blocking::{Work, measured};
use workloads::shapes::TASKS;
use workloads::{Extra, Job, Sample};

pub(crate) fn run(job: &Job) -> Option<Sample> {
    let work: Work = match (job.runtime.as_str(), job.workload.as_str()) {
        ("corosensei", "yield-1") => |ops| switches(1, ops),
        ("corosensei", "yield-1000") => |ops| switches(TASKS, ops / TASKS),
        _ => return None,
    };
    Some(measured(job, work))
}

const STACK_BYTES: usize = 64 * 1024;

/// A switch into a coroutine and back counts as one: so does a yield.
fn switches(coroutines: u64, each: u64) -> Extra {
    let coroutine = |_| {
        let stack = DefaultStack::new(STACK_BYTES).expect("a stack");
        Coroutine::with_stack(stack, move |yielder, ()| {
            let mut done = 0;
            while done < each {
                yielder.suspend(());
                done += 1;
            }
            done
        })
    };
    let mut all: Vec<_> = (0..coroutines).map(coroutine).collect();
    let mut done = 0;
    for _ in 0..=each {
        for coroutine in &mut all {
            if let CoroutineResult::Return(yields) = coroutine.resume(()) {
                done += yields;
            }
        }
    }
    assert_eq!(done, coroutines * each);
    vec![]
}
