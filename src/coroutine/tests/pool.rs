use super::{burn, finish, stack};
use crate::coroutine::{Class, Coroutine, release, trim_pool};
use std::time::{Duration, Instant};

/// Classes of which no other test uses a stack, so that what the pool does with them is known.
const ORDER: Class = Class::for_spacing(64 << 20);
const LEAK: Class = Class::for_spacing(128 << 20);
const TRIM: Class = Class::for_spacing(256 << 20);
const CLEAN: Class = Class::for_spacing(512 << 20);

fn run_on(stack: crate::coroutine::Stack) -> crate::coroutine::Stack {
    finish(Coroutine::new(stack, |_| {
        burn(100_000);
    }))
}

#[test]
fn most_recently_released_comes_first() {
    let stacks: Vec<_> = (0..3).map(|_| run_on(stack(ORDER))).collect();
    let tops: Vec<_> = stacks.iter().map(|stack| stack.range().end).collect();
    for stack in stacks {
        release(stack);
    }
    let again: Vec<_> = (0..3).map(|_| stack(ORDER)).collect();
    let again: Vec<_> = again.iter().map(|stack| stack.range().end).rev().collect();
    assert_eq!(again, tops);
}

#[test]
fn used_before_clean_before_fresh() {
    let (used, clean) = (run_on(stack(CLEAN)), stack(CLEAN));
    let tops = [used.range().end, clean.range().end];
    release(used);
    release(clean);
    let again = [stack(CLEAN), stack(CLEAN)];
    assert_eq!(again.each_ref().map(|stack| stack.range().end), tops);
    let fresh = stack(CLEAN);
    assert!(!tops.contains(&fresh.range().end));
    assert_eq!(fresh.high_water(), 0);
}

#[test]
fn leaked_stacks_never_come_back() {
    let mut coroutine = Coroutine::new(stack(LEAK), |suspender| suspender.suspend());
    coroutine.resume();
    let top = coroutine.extent().range().end;
    drop(coroutine);
    let others: Vec<_> = (0..10).map(|_| stack(LEAK)).collect();
    assert!(others.iter().all(|stack| stack.range().end != top));
}

#[test]
fn trimming_the_pool_takes_the_pages_of_idle_stacks() {
    let used = run_on(stack(TRIM));
    let top = used.range().end;
    assert!(used.high_water() >= 100_000);
    release(used);
    // Others may release theirs meanwhile; ours is among those that are idle by now.
    trim_pool(usize::MAX);
    // Another test's trimming may have it in its hands at this moment.
    let patience = Instant::now() + Duration::from_secs(10);
    let again = loop {
        let stack = stack(TRIM);
        if stack.range().end == top {
            break stack;
        }
        assert!(Instant::now() < patience, "the stack never came back");
        release(stack);
        std::thread::yield_now();
    };
    assert_eq!(again.high_water(), 0);
    assert!(run_on(again).high_water() >= 100_000, "the stack works as before");
}

#[test]
fn stacks_pass_between_threads() {
    let class = Class::for_usable(200_000);
    let workers: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                for round in 0..200 {
                    let mut stacks: Vec<_> = (0..round % 7).map(|_| run_on(stack(class))).collect();
                    let mut tops: Vec<_> = stacks.iter().map(|stack| stack.range().end).collect();
                    tops.sort_unstable();
                    tops.dedup();
                    assert_eq!(tops.len(), stacks.len());
                    trim_pool(round % 3);
                    stacks.drain(..).for_each(release);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("no panic");
    }
}
