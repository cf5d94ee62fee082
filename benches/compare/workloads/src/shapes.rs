//! The shape of each workload in numbers, shared by all runtimes: who sends how much to whom, and what must come out.

use std::time::Duration;

/// Tasks of the workloads that run a thousand side by side.
pub const TASKS: u64 = 1_000;

/// Tasks of `yield-many`, and how often each yields: tokio's shape.
pub const YIELD_MANY_TASKS: u64 = 200;
pub const YIELD_MANY_YIELDS: u64 = 1_000;

/// Tasks that one round of `spawn-many` starts: tokio's shape.
pub const SPAWN_MANY: u64 = 10_000;

/// How deep `chained-spawn` goes, and how many pairs `ping-pong-oneshot` starts at once: tokio's shapes.
pub const CHAIN: u64 = 1_000;
pub const ONESHOT_PAIRS: u64 = 1_000;

/// Capacity of the buffered channels.
pub const CAPACITY: usize = 128;

/// Senders, and receivers, of `mpmc`; channels of the selects.
pub const PARTIES: u64 = 4;

/// Children of an inner node of `skynet`.
pub const CHILDREN: u64 = 10;

/// A timer that is never waited for.
pub const FAR: Duration = Duration::from_secs(10);

/// Over what time the deadlines of `timers` are spread.
pub const SPREAD: Duration = Duration::from_secs(1);

/// When the first timer of `timers` fires, after the start: all must be armed by then. Stacks take longer.
pub fn opening(timers: u64, with_stacks: bool) -> Duration {
    let million = Duration::from_secs(if with_stacks { 6 } else { 2 });
    Duration::from_secs(1) + million.mul_f64(timers as f64 / 1e6)
}

/// 0 + 1 + ... + (n - 1).
pub fn sum_below(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

/// The largest number of rounds of `unit` operations in `ops`, at least one.
pub fn rounds(ops: u64, unit: u64) -> u64 {
    (ops / unit).max(1)
}

/// The n-th prime, by trial division: what `sieve` is checked against.
pub fn nth_prime(n: u64) -> u64 {
    let is_prime = |x: u64| (2..).take_while(|d| d * d <= x).all(|d| !x.is_multiple_of(d));
    (2..).filter(|&x| is_prime(x)).nth(n as usize - 1).expect("there is always another prime")
}

/// Median and 99th percentile of latenesses in ns.
pub fn lateness(mut late_ns: Vec<u64>) -> crate::measure::Extra {
    late_ns.sort_unstable();
    let at = |q: f64| late_ns[((late_ns.len() - 1) as f64 * q) as usize] as f64 / 1_000.0;
    vec![("late_p50_us", at(0.5)), ("late_p99_us", at(0.99))]
}
