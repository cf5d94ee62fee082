use super::child::{in_child, test_path};
use super::{SMALL, acquire, finish, step};
use crate::coroutine::{Coroutine, guard, memory, release, trim_pool};

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
        assert_eq!(trim_pool(count / 2), count - count / 2);
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
        assert!(memory::give_back(&range));
        assert_eq!(memory::lowest_resident(&range), None);
        memory::unmap(range);
    }
}
