//! Readings of `/proc/self`.

use std::fs;

/// A thread of this process.
pub(crate) struct ThreadInfo {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) voluntary_switches: u64,
}

/// All threads.
pub(crate) fn threads() -> Vec<ThreadInfo> {
    let entries = fs::read_dir("/proc/self/task").expect("/proc is mounted");
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let status = fs::read_to_string(path.join("status")).ok()?;
            Some(ThreadInfo {
                id: path.file_name()?.to_str()?.parse().ok()?,
                name: field(&status, "Name:")?.to_string(),
                voluntary_switches: field(&status, "voluntary_ctxt_switches:")?.parse().ok()?,
            })
        })
        .collect()
}

/// Threads whose names begin so.
pub(crate) fn threads_named(prefix: &str) -> Vec<ThreadInfo> {
    threads().into_iter().filter(|thread| thread.name.starts_with(prefix)).collect()
}

/// Name, state and wait channel of each thread.
pub(crate) fn threads_text() -> String {
    let Ok(entries) = fs::read_dir("/proc/self/task") else { return String::new() };
    let mut text = String::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        let wchan = fs::read_to_string(path.join("wchan")).unwrap_or_default();
        let state = field(&status, "State:").unwrap_or("?");
        text += &format!("  thread {} {} {wchan}\n", field(&status, "Name:").unwrap_or("?"), state);
    }
    text
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// Open descriptors.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

/// Resident memory in bytes.
pub(crate) fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages: usize = statm.split(' ').nth(1).expect("a field").parse().expect("a number");
    pages * 4096
}

/// Mappings.
pub(crate) fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").expect("/proc is mounted").lines().count()
}

/// The number of the calling thread.
pub(crate) fn thread_id() -> u64 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::syscall(libc::SYS_gettid) as u64 }
}
