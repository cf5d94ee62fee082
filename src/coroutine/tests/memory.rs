use super::child::{in_child, test_path};
use super::{SMALL, acquire, finish, step};
use crate::coroutine::{Coroutine, advice, guard, memory, release, trim_pool};

/// Pages of the process that are in memory, in bytes.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split(' ').nth(1).expect("resident").parse().expect("a number");
    pages * memory::page_size()
}

/// Memory of the system, not counted as resident, that the process takes for page tables, in bytes.
fn page_table_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmPTE:")).expect("page tables");
    let kib: usize = line.split_whitespace().nth(1).expect("a size").parse().expect("a number");
    kib * 1024
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").expect("Linux").lines().count()
}

#[test]
fn hundred_thousand_suspended_coroutines_cost_a_page_each_and_leave_nothing() {
    // Under the sanitizer each coroutine has a stack of shadow copies besides.
    let count = if cfg!(feature = "sanitizer") { 500 } else { 100_000 };
    let output = in_child(test_path!(), || {
        drop(acquire(SMALL).expect("a stack"));
        if !guard::are_marks() && count > 10_000 {
            println!("skipped: this kernel guards stacks with mappings, of which there are too few");
            return;
        }
        let (before, tables_before, mappings_before) = (resident_bytes(), page_table_bytes(), mappings());
        let mut coroutines = Vec::with_capacity(count);
        for _ in 0..count {
            let stack = acquire(SMALL).expect("a stack");
            let mut coroutine = Coroutine::new(stack, |suspender| suspender.suspend());
            step(&mut coroutine);
            coroutines.push(coroutine);
        }
        let each = (resident_bytes() - before) / count;
        let tables = (page_table_bytes() - tables_before) / count;
        let mappings = mappings() - mappings_before;
        coroutines.into_iter().map(finish).for_each(release);
        // Some that were made ready, and not asked for, may be there besides.
        let held = trim_pool(count / 2);
        assert!((count - count / 2..count - count / 2 + 16).contains(&held), "{held} hold pages");
        assert_eq!(trim_pool(count), 0);
        let after = resident_bytes().saturating_sub(before);
        println!("{each} bytes each and {tables} of page tables; {mappings} mappings; {after} bytes left");
        if cfg!(not(feature = "sanitizer")) {
            assert!(mappings < count / 100, "{mappings} mappings");
            assert!(each < memory::page_size() + 300, "{each} bytes each");
            // The shelves of the pool: sixteen bytes a stack.
            assert!(after < count * 60, "{after} bytes left");
        }
    })
    .well();
    println!("{output}");
}

#[test]
fn lowest_resident_page_is_found() {
    let page = memory::page_size();
    let pages = 700;
    let range = memory::map(pages * page).expect("memory");
    assert_eq!(memory::lowest_resident(&range), None);
    for index in [699, 300, 256, 255, 3] {
        let address = range.start + index * page;
        // SAFETY: mapped above, and writable.
        unsafe { memory::pointer(address).cast::<u8>().write(1) };
        assert_eq!(memory::lowest_resident(&range), Some(address));
    }
    // SAFETY: nobody needs what was written.
    unsafe {
        assert_eq!(memory::give_back_each(std::iter::once(range.clone())), 1);
        assert_eq!(memory::lowest_resident(&range), None);
        memory::unmap(range);
    }
}

/// Pages `1, 3, 5, ...` of a range.
fn every_second(range: &std::ops::Range<usize>) -> impl Iterator<Item = std::ops::Range<usize>> {
    let page = memory::page_size();
    range.clone().skip(page).step_by(2 * page).map(move |start| start..start + page)
}

fn many_ranges_are_got_and_given_back() {
    let page = memory::page_size();
    // Several calls, the last of them not full.
    let range = memory::map(300 * page).expect("memory");
    memory::populate_below(every_second(&range).map(|page| page.end));
    for start in range.clone().step_by(page) {
        let present = memory::lowest_resident(&(start..start + page)).is_some();
        assert_eq!(present, every_second(&range).any(|page| page.start == start));
    }
    // SAFETY: nobody needs what is in it; it is unmapped once.
    unsafe {
        assert_eq!(memory::give_back_each(every_second(&range)), 150);
        assert_eq!(memory::lowest_resident(&range), None);
        memory::unmap(range);
    }
}

#[test]
fn advice_reaches_each_range() {
    in_child(test_path!(), many_ranges_are_got_and_given_back).well();
}

#[test]
fn advice_reaches_each_range_where_each_costs_a_call() {
    in_child(test_path!(), || {
        advice::refuse_many();
        let (stacks, others): (Vec<_>, Vec<_>) = (0..100).map(|_| (acquire(SMALL), acquire(SMALL))).unzip();
        assert!(
            stacks.into_iter().chain(others).all(|stack| stack.is_ok_and(|stack| stack.high_water() == 0))
        );
        many_ranges_are_got_and_given_back();
    })
    .well();
}

#[test]
fn a_range_that_refuses_is_skipped_or_the_last() {
    let page = memory::page_size();
    let range = memory::map(10 * page).expect("memory");
    let hole = range.start + 5 * page;
    // SAFETY: ours, and unused; the hole is told of, but nothing is there that could change.
    unsafe {
        memory::unmap(hole..hole + page);
        let pages = range.clone().step_by(page).map(|start| start..start + page);
        assert_eq!(memory::give_back_each(pages.clone()), 9);
        let (count, outcome) = advice::advise_each(pages, libc::MADV_DONTNEED, advice::Refused::Stops);
        assert_eq!((count, outcome.is_err()), (5, true));
        memory::unmap(range.start..hole);
        memory::unmap(hole + page..range.end);
    }
}
