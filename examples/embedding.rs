//! A runtime inside somebody else's loop: a bare poll(2) loop owns the thread, reads a pipe of its own, and drives coroutines,
//! timers and channels between two waits. Watch that one thread does it all and sleeps while nothing happens.
//!
//! `cargo run --release --example embedding`

use aqueduct::{LocalRuntime, channel, time};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

fn main() -> io::Result<()> {
    let runtime = LocalRuntime::new()?;
    let (keys, typed) = channel::unbounded::<char>();
    let player = runtime.go(move || {
        let mut played = String::new();
        for key in typed.iter() {
            time::sleep(Duration::from_millis(5)); // takes its time; the loop goes on
            played.push(key);
        }
        played
    });

    let (mut reader, mut writer) = io::pipe()?; // what the loop is there for: somebody's input
    let typist = std::thread::spawn(move || writer.write_all(b"aqueduct"));
    let (mut keys, mut rounds) = (Some(keys), 0);
    while !player.is_finished() {
        while runtime.turn() {}
        let mut ready = [readable(&reader, keys.is_some()), readable(&runtime, true)];
        if player.is_finished() {
            break;
        }
        wait(&mut ready, runtime.next_deadline())?;
        rounds += 1;
        if ready[0].revents != 0 {
            let mut bytes = [0; 3];
            match reader.read(&mut bytes)? {
                0 => keys = None,
                n => bytes[..n].iter().for_each(|byte| {
                    let _ = keys.as_ref().expect("open until the end of the input").send(char::from(*byte));
                }),
            }
        }
    }
    typist.join().expect("it only writes")?;
    let played = player.join().map_err(io::Error::other)?;
    println!("{played} in {rounds} rounds of the loop");
    assert_eq!(played, "aqueduct");
    Ok(())
}

fn readable(source: &impl AsRawFd, wanted: bool) -> libc::pollfd {
    let fd: RawFd = if wanted { source.as_raw_fd() } else { -1 };
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

fn wait(entries: &mut [libc::pollfd], deadline: Option<Instant>) -> io::Result<()> {
    let timeout = deadline.map_or(-1, |deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
    });
    // SAFETY: the slice is live and as long as is said.
    let result = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, timeout) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
