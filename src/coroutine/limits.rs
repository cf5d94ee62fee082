//! Why there is no stack: which limit of the system was met, and what to do about it.

use std::sync::OnceLock;
use std::{fmt, io};

#[cfg(not(target_os = "openbsd"))]
use libc::RLIMIT_AS as ADDRESS_SPACE;
// The nearest thing it has.
#[cfg(target_os = "openbsd")]
use libc::RLIMIT_DATA as ADDRESS_SPACE;

use super::guard;
use super::stack::Class;

/// Mappings left to the rest of the process when guards cost mappings (guessed). An allocator that finds none
/// aborts the program, long before anybody could report that a stack was refused.
const MAPPINGS_KEPT_FREE: usize = 2048;

/// No stack of a class could be had.
#[derive(Debug)]
pub(crate) struct Exhausted {
    spacing: usize,
    limit: Limit,
}

/// What was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    /// `RLIMIT_AS`, in bytes.
    AddressSpace { max: u64 },
    /// `vm.max_map_count`, in mappings.
    Mappings { max: usize },
    /// `vm.overcommit_memory` is 2.
    Commit,
    /// `RLIMIT_MEMLOCK` in a process that locks all it maps.
    Locked,
    /// None of these.
    Memory,
}

impl Exhausted {
    /// Finds out which limit made the system answer `error` to a request for a stack.
    #[cold]
    pub(super) fn diagnose(class: Class, error: &io::Error) -> Self {
        let spacing = class.spacing();
        let limit = if error.raw_os_error() == Some(libc::EAGAIN) {
            Limit::Locked
        } else {
            address_space_met(spacing).or_else(mappings_met).or_else(commit_met).unwrap_or(Limit::Memory)
        };
        Self { spacing, limit }
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no room for a coroutine stack of {} bytes: ", self.spacing)?;
        match self.limit {
            Limit::AddressSpace { max } => write!(
                f,
                "the address space of the process is limited to {max} bytes (RLIMIT_AS); \
                 raise the limit (ulimit -v), or ask for smaller or fewer stacks"
            ),
            Limit::Mappings { max } => write!(
                f,
                "the process may have {max} mappings (vm.max_map_count) and each guard takes two; \
                 raise the limit (sysctl vm.max_map_count), or use Linux 6.13, where guards take none"
            ),
            Limit::Commit => f.write_str(
                "the system grants only memory it has (vm.overcommit_memory is 2) and has granted it all; \
                 set vm.overcommit_memory to 0, raise vm.overcommit_ratio, or ask for smaller stacks",
            ),
            Limit::Locked => f.write_str(
                "the process locks what it maps (mlockall) and may lock no more (RLIMIT_MEMLOCK); \
                 raise the limit (ulimit -l), or lock without MCL_FUTURE",
            ),
            Limit::Memory => {
                f.write_str("the system is out of memory or address space; ask for smaller or fewer stacks")
            }
        }
    }
}

impl std::error::Error for Exhausted {}

impl From<Exhausted> for io::Error {
    fn from(exhausted: Exhausted) -> Self {
        Self::new(io::ErrorKind::OutOfMemory, exhausted)
    }
}

/// How many guards may be made that cost two mappings each.
pub(super) fn protected_guards_max() -> usize {
    static MAX: OnceLock<usize> = OnceLock::new();
    *MAX.get_or_init(|| match mappings_max() {
        Some(max) => max.saturating_sub(MAPPINGS_KEPT_FREE) / 2,
        None => usize::MAX,
    })
}

/// On systems that do not say how much is in use, a limit that is set counts as met.
fn address_space_met(more: usize) -> Option<Limit> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: writes to the struct it is given.
    let failed = unsafe { libc::getrlimit(ADDRESS_SPACE, &raw mut limit) != 0 };
    if failed || limit.rlim_cur == libc::RLIM_INFINITY {
        return None;
    }
    #[allow(clippy::unnecessary_cast, reason = "32 bits or signed on some systems")]
    let max = limit.rlim_cur as u64;
    let used =
        read_number("/proc/self/statm").map_or(max, |pages| (pages * super::memory::page_size()) as u64);
    let wanted = used.saturating_add(more as u64 * 2).saturating_add(super::slab::KEPT_FREE_BYTES as u64);
    (wanted > max).then_some(Limit::AddressSpace { max })
}

fn mappings_met() -> Option<Limit> {
    let max = mappings_max()?;
    // Counting tens of thousands of lines takes as many microseconds; not every spawn that fails shall pay
    // that.
    let met = guard::is_spent() || count_lines("/proc/self/maps")? + MAPPINGS_KEPT_FREE >= max;
    met.then_some(Limit::Mappings { max })
}

fn mappings_max() -> Option<usize> {
    read_number("/proc/sys/vm/max_map_count")
}

fn commit_met() -> Option<Limit> {
    (read_number("/proc/sys/vm/overcommit_memory") == Some(2)).then_some(Limit::Commit)
}

/// The number a file begins with. Nothing here allocates: memory may be what is short.
fn read_number(path: &str) -> Option<usize> {
    use std::io::Read;
    let mut text = [0; 32];
    let length = std::fs::File::open(path).ok()?.read(&mut text).ok()?;
    let digits = text[..length].split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn count_lines(path: &str) -> Option<usize> {
    use std::io::Read;
    let mut file = std::fs::File::open(path).ok()?;
    let mut chunk = [0; 1024];
    let mut lines = 0;
    loop {
        match file.read(&mut chunk).ok()? {
            0 => return Some(lines),
            length => lines += chunk[..length].iter().filter(|byte| **byte == b'\n').count(),
        }
    }
}
