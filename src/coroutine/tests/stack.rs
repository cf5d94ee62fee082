use std::cell::Cell;
use std::rc::Rc;

use super::{SMALL, burn, coroutine, finish, stack, step};
use crate::coroutine::memory::page_size;
use crate::coroutine::stack::SWITCH_MARGIN_BYTES;
use crate::coroutine::{Class, Coroutine, stack_pointer, trim_below};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

#[test]
fn classes_round_up() {
    let spacing_for_usable = |bytes| Class::for_usable(bytes).spacing();
    assert_eq!(spacing_for_usable(0), 128 * KIB);
    assert_eq!(spacing_for_usable(64 * KIB), 128 * KIB);
    assert_eq!(spacing_for_usable(64 * KIB + 1), 256 * KIB);
    assert_eq!(spacing_for_usable(192 * KIB), 256 * KIB);
    assert_eq!(spacing_for_usable(8 * MIB), 16 * MIB);
    assert_eq!(Class::for_usable(usize::MAX), Class::MAX);
    assert_eq!(Class::for_spacing(2 * MIB).usable(), 2 * MIB - 64 * KIB);
    assert_eq!(Class::for_spacing(2 * MIB + 1).spacing(), 4 * MIB);
    for class in Class::all() {
        assert_eq!(Class::for_usable(class.usable()), class);
        assert_eq!(Class::for_spacing(class.spacing()), class);
    }
    assert_eq!(Class::all().count(), Class::COUNT);
}

#[test]
fn stack_lies_in_its_spacing() {
    for bytes in [0, 100 * KIB, MIB, 8 * MIB] {
        let class = Class::for_usable(bytes);
        let stack = stack(class);
        assert_eq!(stack.guard().len(), 64 * KIB);
        assert_eq!(stack.guard().start % class.spacing(), 0);
        assert_eq!(stack.guard().end, stack.range().start);
        assert_eq!(stack.range().end, stack.guard().start + class.spacing());
        assert_eq!(stack.range().len(), stack.size());
        assert!(stack.size() >= bytes);
    }
}

#[test]
fn whole_stack_can_be_used() {
    let coroutine = coroutine(|_| {
        burn(SMALL.usable() * 2 / 5);
    });
    drop(finish(coroutine));
}

#[test]
fn high_water_follows_depth() {
    // A class of its own, whose stacks no other test has used.
    let stack = stack(Class::for_spacing(32 * MIB));
    assert_eq!(stack.high_water(), 0);
    let mut coroutine = Coroutine::new(stack, |suspender| {
        suspender.suspend();
        for kib in [300, 900, 100] {
            burn(kib * KIB);
            suspender.suspend();
        }
    });
    let page = page_size();
    step(&mut coroutine);
    let mut marks = Vec::new();
    for _ in 0..3 {
        step(&mut coroutine);
        marks.push(coroutine.extent().high_water());
    }
    assert!(marks[0] >= 300 * KIB && marks[0] < 1200 * KIB, "{marks:?}");
    assert!(marks[1] >= 900 * KIB && marks[1] > marks[0] + page, "{marks:?}");
    assert_eq!(marks[2], marks[1]);
    drop(coroutine);
}

#[test]
fn trim_below_keeps_the_live_frames() {
    let depth = 20 * KIB;
    let sp = Rc::new(Cell::new(0));
    let inside = sp.clone();
    let mut coroutine = coroutine(move |suspender| {
        let live = std::hint::black_box([0x5A_u8; 20 * KIB]);
        for round in 0..3 {
            burn(50 * KIB);
            inside.set(stack_pointer());
            suspender.suspend();
            assert!(std::hint::black_box(&live).iter().all(|byte| *byte == 0x5A), "round {round}");
        }
    });
    for _ in 0..3 {
        step(&mut coroutine);
        let stack = coroutine.extent();
        let before = stack.high_water();
        assert!(before >= 50 * KIB);
        // SAFETY: suspended, right after it noted its stack pointer.
        assert_eq!(unsafe { trim_below(stack.idle_below(sp.get()).into_iter()) }, 1);
        let used = stack.range().end - sp.get();
        let after = stack.high_water();
        assert!(after < before && after >= used, "{used} used, {before} before, {after} after");
        assert!(after <= used + SWITCH_MARGIN_BYTES + page_size(), "{used} used, {after} after");
        assert!(cfg!(feature = "sanitizer") || used >= depth);
    }
    drop(finish(coroutine));
}

#[test]
fn trim_below_takes_nothing_where_there_is_nothing() {
    let mut coroutine = coroutine(|suspender| suspender.suspend());
    step(&mut coroutine);
    let range = coroutine.extent().range();
    for sp in [range.start, range.start + 1, range.start - 1, range.end, 0, usize::MAX] {
        // No address of these leads to a page below it and inside the stack.
        assert_eq!(coroutine.extent().idle_below(sp), None);
    }
    drop(finish(coroutine));
}
