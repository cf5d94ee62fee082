//! What a sample measures about its own process, and what it reports.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What a sample's process prints, as one line of JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    pub ops: u64,
    pub wall_ns: u64,
    pub cpu_ns: u64,
    /// Only counted when the process was asked to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocations: Option<u64>,
    /// Figures that only some workloads have, by name.
    #[serde(default)]
    pub extra: BTreeMap<String, f64>,
}

/// A stretch of time, seen by this process.
pub struct Meter {
    start: Instant,
    cpu: Duration,
    allocations: u64,
}

impl Meter {
    pub fn start() -> Self {
        Self { allocations: allocations(), cpu: process_cpu(), start: Instant::now() }
    }

    pub fn stop(self, ops: u64, extra: Extra) -> Sample {
        let wall = self.start.elapsed();
        let cpu = process_cpu() - self.cpu;
        Sample {
            ops,
            wall_ns: wall.as_nanos() as u64,
            cpu_ns: cpu.as_nanos() as u64,
            allocations: COUNTING.load(Ordering::Relaxed).then(|| allocations() - self.allocations),
            extra: extra.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }
}

/// Figures beside the time, by name.
pub type Extra = Vec<(&'static str, f64)>;

/// User and system time of this process.
pub fn process_cpu() -> Duration {
    // SAFETY: all zero is a valid `rusage`, and the call only writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let of = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// CPU time of all threads of a process that are alive.
pub fn process_cpu_ns_of(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_thread = |thread: std::fs::DirEntry| -> Option<u64> {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    threads.filter_map(of_thread).sum()
}

/// Resident memory of this process, in bytes, and its page tables with it: a million stacks need many of both. To the page for a few
/// tasks; for many, that would take as long as thousands of tasks, and the kernel's estimate is right to some hundred pages.
pub fn resident(tasks: u64) -> (f64, f64) {
    let file = if tasks < 100_000 { "/proc/self/smaps_rollup" } else { "/proc/self/status" };
    let exact = std::fs::read_to_string(file).unwrap_or_default();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
        kib.unwrap_or(f64::NAN) * 1024.0
    };
    let rss = field(&exact, "Rss:");
    (if rss.is_finite() { rss } else { field(&status, "VmRSS:") }, field(&status, "VmPTE:"))
}

/// The system's allocator; counts when asked to, at the price of a branch otherwise.
pub struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

pub fn count_allocations() {
    COUNTING.store(true, Ordering::Relaxed);
}

fn allocations() -> u64 {
    ALLOCATIONS.load(Ordering::Relaxed)
}

impl Counting {
    #[inline]
    fn note() {
        if COUNTING.load(Ordering::Relaxed) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::note();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::note();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}
