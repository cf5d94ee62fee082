use super::child::{in_child, test_path};
use super::{burn, finish, stack};
use crate::coroutine::{Class, Coroutine, release, trim_pool};

/// Classes of which no other test uses a stack, so that what the pool does with them is known: in a process of its own, for who trims
/// takes stacks of all classes.
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
    in_child(test_path!(), || {
        let stacks: Vec<_> = (0..3).map(|_| run_on(stack(ORDER))).collect();
        let tops: Vec<_> = stacks.iter().map(|stack| stack.range().end).collect();
        for stack in stacks {
            release(stack);
        }
        let again: Vec<_> = (0..3).map(|_| stack(ORDER)).collect();
        let again: Vec<_> = again.iter().map(|stack| stack.range().end).rev().collect();
        assert_eq!(again, tops);
    })
    .well();
}

#[test]
fn used_before_clean_before_fresh() {
    in_child(test_path!(), || {
        let (used, clean) = (run_on(stack(CLEAN)), stack(CLEAN));
        let tops = [used.range().end, clean.range().end];
        release(used);
        release(clean);
        let again = [stack(CLEAN), stack(CLEAN)];
        assert_eq!(again.each_ref().map(|stack| stack.range().end), tops);
        let fresh = stack(CLEAN);
        assert!(!tops.contains(&fresh.range().end));
        assert_eq!(fresh.high_water(), 0);
    })
    .well();
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
    in_child(test_path!(), || {
        let used = run_on(stack(TRIM));
        let top = used.range().end;
        assert!(used.high_water() >= 100_000);
        release(used);
        trim_pool(usize::MAX);
        let again = stack(TRIM);
        assert_eq!(again.range().end, top);
        assert_eq!(again.high_water(), 0);
        assert!(run_on(again).high_water() >= 100_000, "the stack works as before");
    })
    .well();
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
