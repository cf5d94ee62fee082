//! As many cases as the documentation of `select!` promises, at the recursion limit that it names.
#![recursion_limit = "256"]

use aqueduct::{channel, select};

/// Of the kind that takes most: a future with a guard.
#[test]
fn two_dozen_cases() {
    let (_tx, rx) = channel::bounded::<u8>(1);
    let wait = || rx.recv_async();
    let chosen = select! {
        v = wait(), if true => v.map(|_| 1),
        v = wait(), if true => v.map(|_| 2),
        v = wait(), if true => v.map(|_| 3),
        v = wait(), if true => v.map(|_| 4),
        v = wait(), if true => v.map(|_| 5),
        v = wait(), if true => v.map(|_| 6),
        v = wait(), if true => v.map(|_| 7),
        v = wait(), if true => v.map(|_| 8),
        v = wait(), if true => v.map(|_| 9),
        v = wait(), if true => v.map(|_| 10),
        v = wait(), if true => v.map(|_| 11),
        v = wait(), if true => v.map(|_| 12),
        v = wait(), if true => v.map(|_| 13),
        v = wait(), if true => v.map(|_| 14),
        v = wait(), if true => v.map(|_| 15),
        v = wait(), if true => v.map(|_| 16),
        v = wait(), if true => v.map(|_| 17),
        v = wait(), if true => v.map(|_| 18),
        v = wait(), if true => v.map(|_| 19),
        v = wait(), if true => v.map(|_| 20),
        v = wait(), if true => v.map(|_| 21),
        v = wait(), if true => v.map(|_| 22),
        v = wait(), if true => v.map(|_| 23),
        default => Ok(24),
    };
    assert_eq!(chosen, Ok(24));
}
