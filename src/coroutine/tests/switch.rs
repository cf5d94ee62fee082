use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use super::child::{in_child, test_path};
use super::{SMALL, coroutine, finish, stack, step};
use crate::coroutine::stack::SWITCH_MARGIN_BYTES;
use crate::coroutine::{Coroutine, Resumed, Suspender, stack_pointer};

#[test]
fn bodies_take_turns_with_their_resumer() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let inside = log.clone();
    let mut coroutine = coroutine(move |suspender| {
        for turn in 0..3 {
            inside.borrow_mut().push(turn);
            suspender.suspend();
        }
    });
    for turn in 10..13 {
        log.borrow_mut().push(turn);
        step(&mut coroutine);
    }
    drop(finish(coroutine));
    assert_eq!(*log.borrow(), [10, 0, 11, 1, 12, 2]);
}

#[test]
fn suspender_keeps_its_address() {
    let seen = Rc::new(Cell::new(0));
    let inside = seen.clone();
    let mut coroutine = coroutine(move |suspender| {
        loop {
            inside.set(std::ptr::from_ref(suspender).addr());
            suspender.suspend();
        }
    });
    step(&mut coroutine);
    let first = seen.replace(0);
    step(&mut coroutine);
    assert_eq!(seen.get(), first);
    assert!(coroutine.extent().range().contains(&first));
    drop(coroutine);
}

#[test]
fn coroutines_nest() {
    let mut outer = coroutine(|suspender| {
        let mut inner = coroutine(|suspender| suspender.suspend());
        step(&mut inner);
        suspender.suspend();
        drop(finish(inner));
    });
    step(&mut outer);
    drop(finish(outer));
}

#[test]
fn panics_caught_inside_a_body_stay_there() {
    let coroutine = coroutine(|_| {
        let caught = std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(7)));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&7));
    });
    drop(finish(coroutine));
}

#[test]
fn panic_that_leaves_a_body_aborts() {
    let ended = in_child(test_path!(), || {
        coroutine(|_| panic!("nobody catches this")).resume();
    });
    let output = ended.by_signal(&[libc::SIGABRT]);
    assert!(output.contains("a panic left the body of a coroutine"), "{output}");
}

#[test]
#[should_panic(expected = "not finished")]
fn into_stack_before_the_end_panics() {
    let mut coroutine = coroutine(|suspender| suspender.suspend());
    step(&mut coroutine);
    drop(coroutine.into_stack());
}

/// Counts how often it is dropped.
struct Dropped(Rc<Cell<usize>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn body_that_never_began_is_dropped_and_its_stack_reused() {
    let drops = Rc::new(Cell::new(0));
    let value = Dropped(drops.clone());
    drop(coroutine(move |_| drop(value)));
    assert_eq!(drops.get(), 1);
}

#[test]
fn suspended_coroutine_is_leaked_not_unwound() {
    let drops = Rc::new(Cell::new(0));
    let value = Dropped(drops.clone());
    let mut coroutine = coroutine(move |suspender| {
        suspender.suspend();
        drop(value);
    });
    step(&mut coroutine);
    drop(coroutine);
    assert_eq!(drops.get(), 0);
}

#[test]
fn only_stacks_may_change_threads() {
    trait UnlessSend<Marker> {
        fn check() {}
    }
    struct IsSend;
    impl<T: ?Sized> UnlessSend<()> for T {}
    impl<T: ?Sized + Send> UnlessSend<IsSend> for T {}
    // Ambiguous, so that it does not compile, for a type that is Send.
    <Coroutine as UnlessSend<_>>::check();
    <&Suspender as UnlessSend<_>>::check();

    let stack = std::thread::spawn(|| stack(SMALL)).join().expect("no panic");
    drop(finish(Coroutine::new(stack, |_| {})));
}

#[test]
fn backtraces_cross_the_switch() {
    let coroutine = coroutine(|_| {
        let trace = std::backtrace::Backtrace::force_capture().to_string();
        assert!(trace.contains("backtraces_cross_the_switch"), "{trace}");
    });
    drop(finish(coroutine));
}

/// What is written below the stack pointer when a coroutine suspends fits twice into the margin that
/// `trim_below` keeps.
#[test]
fn switch_fits_in_margin() {
    const PAINT: u8 = 0xA5;
    let noted = Rc::new(Cell::new(0));
    let inside = noted.clone();
    let stack = stack(SMALL);
    let top = corosensei::stack::Stack::base(&stack).get();
    let mut coroutine = Coroutine::new(stack, move |suspender| {
        loop {
            inside.set(stack_pointer());
            suspender.suspend();
        }
    });
    // The body itself lies within this distance of the top.
    let painted = coroutine.extent().range().start..top - 512;
    let low = std::ptr::with_exposed_provenance_mut::<u8>(painted.start);
    // SAFETY: the coroutine has not begun, so there is nothing on its stack but the body.
    unsafe { low.write_bytes(PAINT, painted.len()) };
    step(&mut coroutine);
    step(&mut coroutine);
    // SAFETY: mapped and readable, and the coroutine does not run.
    let after = unsafe { std::slice::from_raw_parts(low, painted.len()) };
    let untouched = after.iter().take_while(|byte| **byte == PAINT).count();
    let used = noted.get() - (painted.start + untouched);
    println!("{used} bytes below the stack pointer");
    assert!(used * 2 <= SWITCH_MARGIN_BYTES, "{used} bytes");
    drop(coroutine);
}

/// Prints the cost of a resume and a suspend, ours and corosensei's. Run by hand, in release:
/// `cargo test --release --lib switch_pair_cost -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn switch_pair_cost() {
    const PAIRS: u32 = 20_000_000;
    let mut ours = coroutine(|suspender| {
        loop {
            suspender.suspend();
        }
    });
    let mut theirs = corosensei::Coroutine::<(), (), ()>::new(|yielder, ()| {
        loop {
            yielder.suspend(());
        }
    });
    for _ in 0..3 {
        let start = Instant::now();
        for _ in 0..PAIRS {
            assert_eq!(ours.resume(), Resumed::Suspended);
        }
        let middle = Instant::now();
        for _ in 0..PAIRS {
            assert!(theirs.resume(()).as_yield().is_some());
        }
        let each = |time: std::time::Duration| time.as_secs_f64() * 1e9 / f64::from(PAIRS);
        let (ours, theirs) = (each(middle - start), each(middle.elapsed()));
        println!("ours {ours:.2} ns, corosensei {theirs:.2} ns");
    }
    drop(ours);
    std::mem::forget(theirs);
}
