use std::io;

use super::child::{in_child, test_path};
use super::{SMALL, acquire};
use crate::coroutine::{Class, Stack, guard, release};

/// Acquires stacks until there are no more.
fn exhaust(class: Class) -> (Vec<Stack>, io::Error) {
    let mut stacks = Vec::new();
    loop {
        match acquire(class) {
            Ok(stack) => stacks.push(stack),
            Err(error) => return (stacks, error),
        }
    }
}

/// After the failure things go on: a released stack can be had again, and the allocator still has room.
fn goes_on(mut stacks: Vec<Stack>, class: Class) {
    release(stacks.pop().expect("at least one"));
    drop(acquire(class).expect("the one just released"));
    drop(std::hint::black_box(vec![0_u8; 4 << 20]));
}

#[test]
fn address_space_limit_is_named() {
    in_child(test_path!(), || {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
        let pages: u64 = statm.split(' ').next().expect("size").parse().expect("a number");
        let max = pages * 4096 + (300 << 20);
        let limit = libc::rlimit { rlim_cur: max, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: reads the struct.
        let result = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
        assert_eq!(result, 0);

        let (stacks, error) = exhaust(SMALL);
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        let text = error.to_string();
        assert!(text.contains("RLIMIT_AS") && text.contains(&max.to_string()), "{text}");
        // 300 MiB less what is kept free, in slabs that got smaller and smaller.
        assert!(stacks.len() > 1000 && stacks.len() < 1200, "{} stacks", stacks.len());
        goes_on(stacks, SMALL);
    })
    .well();
}

#[test]
fn mapping_limit_is_named_when_guards_cost_mappings() {
    let max = std::fs::read_to_string("/proc/sys/vm/max_map_count").expect("Linux");
    let max: usize = max.trim().parse().expect("a number");
    if max > 300_000 {
        println!("skipped: this system allows {max} mappings");
        return;
    }
    in_child(test_path!(), || {
        guard::refuse_marks();
        let class = Class::for_usable(0);
        let (stacks, error) = exhaust(class);
        let text = error.to_string();
        assert!(text.contains("vm.max_map_count") && text.contains(&max.to_string()), "{text}");
        assert!(stacks.len() > max / 2 - 2000, "{} stacks", stacks.len());
        goes_on(stacks, class);
    })
    .well();
}

#[test]
fn absurd_size_is_refused() {
    let error = acquire(Class::for_usable(usize::MAX)).expect_err("no system has that");
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    assert!(error.to_string().contains("ask for smaller"), "{error}");
}

/// On locked memory neither marked guards nor giving pages back work. The stacks do.
#[test]
fn locked_memory_is_usable() {
    use super::{burn, finish};
    use crate::coroutine::Coroutine;

    in_child(test_path!(), || {
        // SAFETY: locks what will be touched; no memory of ours changes.
        if unsafe { libc::mlockall(libc::MCL_FUTURE | libc::MCL_ONFAULT) } != 0 {
            println!("skipped: this process may not lock memory");
            return;
        }
        let stack = match acquire(SMALL) {
            Ok(stack) => stack,
            Err(error) => {
                assert!(error.to_string().contains("RLIMIT_MEMLOCK"), "{error}");
                return;
            }
        };
        let stack = finish(Coroutine::new(stack, |_| {
            burn(50_000);
        }));
        release(stack);
        crate::coroutine::trim_pool(usize::MAX);
        drop(finish(Coroutine::new(acquire(SMALL).expect("a stack"), |_| {})));
    })
    .well();
}
