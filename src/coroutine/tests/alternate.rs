use std::mem::MaybeUninit;

use crate::coroutine::alternate::alternate_stack;

fn current() -> libc::stack_t {
    let mut stack = MaybeUninit::zeroed();
    // SAFETY: with no new stack it only writes the struct.
    unsafe {
        assert_eq!(libc::sigaltstack(std::ptr::null(), stack.as_mut_ptr()), 0);
        stack.assume_init()
    }
}

#[test]
fn previous_alternate_stack_comes_back() {
    let before = current();
    let outer = alternate_stack();
    let with_outer = current();
    assert_eq!(with_outer.ss_flags & libc::SS_DISABLE, 0);
    assert_eq!(with_outer.ss_size, 64 * 1024);
    assert_ne!(with_outer.ss_sp, before.ss_sp);
    {
        let _inner = alternate_stack();
        assert_ne!(current().ss_sp, with_outer.ss_sp);
    }
    assert_eq!(current().ss_sp, with_outer.ss_sp);
    drop(outer);
    assert_eq!(current().ss_sp, before.ss_sp);
    assert_eq!(current().ss_flags, before.ss_flags);
}

#[test]
fn foreign_alternate_stack_is_left_alone() {
    let before = current();
    let ours = alternate_stack();
    let mut foreign = vec![0_u8; 64 * 1024];
    let new = libc::stack_t { ss_sp: foreign.as_mut_ptr().cast(), ss_flags: 0, ss_size: foreign.len() };
    // SAFETY: the memory outlives its use as a signal stack, which ends two lines below.
    let result = unsafe { libc::sigaltstack(&raw const new, std::ptr::null_mut()) };
    assert_eq!(result, 0);
    drop(ours);
    assert_eq!(current().ss_sp, new.ss_sp);
    // SAFETY: what this thread began with.
    let result = unsafe { libc::sigaltstack(&raw const before, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}
