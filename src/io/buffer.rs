//! Buffers lent for the time of one message.
//!
//! A connection that keeps a buffer while it waits costs that buffer for as long as it idles. Waiting first
//! and borrowing afterwards costs nothing: a thread's connections take turns with the few buffers that are in
//! use at once, and the most recently used one, still in the cache, is lent first.
//!
//! The pool is a thread-local stack of at most `POOLED_MAX` buffers, the top of which lies apart, as most of the
//! time it is the only one. It is touched only inside `take` and `give`, which move owned buffers in and out; so a [`Buffer`] may be held across waits and dropped on any
//! thread, in whose pool it then lands.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// The length of every [`Buffer`], in bytes.
pub const BUFFER_SIZE: usize = 64 * 1024;

/// How many unused buffers a thread keeps (2 MiB); the rest go back to the allocator. A guess: as many
/// messages as a worker may reasonably have half written at once.
const POOLED_MAX: usize = 32;

thread_local! {
    static POOL: Pool = const { Pool { top: Cell::new(None), rest: Cell::new(Vec::new()) } };
}

struct Pool {
    top: Cell<Option<Box<[u8]>>>,
    rest: Cell<Vec<Box<[u8]>>>,
}

impl Pool {
    #[inline]
    fn take(&self) -> Option<Box<[u8]>> {
        self.top.take().or_else(|| self.take_from_rest())
    }

    fn take_from_rest(&self) -> Option<Box<[u8]>> {
        let mut rest = self.rest.take();
        let buffer = rest.pop();
        self.rest.set(rest);
        buffer
    }

    #[inline]
    fn give(&self, buffer: Box<[u8]>) {
        if let Some(below) = self.top.replace(Some(buffer)) {
            self.give_to_rest(below);
        }
    }

    fn give_to_rest(&self, buffer: Box<[u8]>) {
        let mut rest = self.rest.take();
        if rest.len() < POOLED_MAX - 1 {
            rest.push(buffer);
        }
        self.rest.set(rest);
    }
}

/// Borrows a buffer of [`BUFFER_SIZE`] bytes; dropping it gives it back.
///
/// Borrow it *after* waiting for input, so that an idle connection holds none:
///
/// ```
/// use std::io::{self, Read, Write};
/// use aqueduct::{Wait, net::TcpStream};
///
/// fn echo(stream: &TcpStream) -> io::Result<()> {
///     loop {
///         stream.readable().wait()?;
///         let mut buffer = aqueduct::io::buffer();
///         let n = (&mut &*stream).read(&mut buffer)?;
///         if n == 0 {
///             return Ok(());
///         }
///         (&mut &*stream).write_all(&buffer[..n])?;
///     }
/// }
/// # let _ = echo;
/// ```
///
/// Its bytes are initialised but unspecified: what an earlier borrower left there, perhaps from another
/// connection. Send only what you have written into it. Never waits.
pub fn buffer() -> Buffer {
    Buffer { bytes: take().unwrap_or_else(allocate) }
}

/// A borrowed buffer: a slice of [`BUFFER_SIZE`] bytes that goes back to a pool when dropped. See
/// [`buffer()`].
pub struct Buffer {
    // Empty only once dropped.
    bytes: Box<[u8]>,
}

#[cold]
fn allocate() -> Box<[u8]> {
    vec![0; BUFFER_SIZE].into_boxed_slice()
}

#[inline(never)]
fn take() -> Option<Box<[u8]>> {
    POOL.try_with(Pool::take).ok().flatten()
}

/// Keeps `buffer` for the next borrower on this thread, or drops it: when there are enough, or the thread is
/// ending.
#[inline(never)]
fn give(buffer: Box<[u8]>) {
    let _ = POOL.try_with(|pool| pool.give(buffer));
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.bytes));
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.bytes.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_buffer_given_back_is_lent_first() {
        let first = buffer();
        let address = first.as_ptr();
        drop(first);
        assert_eq!(buffer().as_ptr(), address);
        assert_eq!(buffer().len(), BUFFER_SIZE);
    }

    #[test]
    fn a_buffer_dropped_elsewhere_lands_in_that_threads_pool() {
        let mut sent = buffer();
        sent[0] = 7;
        let address = sent.as_ptr() as usize;
        let reused = std::thread::spawn(move || {
            drop(sent);
            buffer().as_ptr() as usize
        });
        assert_eq!(reused.join().unwrap(), address);
    }

    #[test]
    fn the_pool_is_bounded() {
        let many: Vec<_> = (0..POOLED_MAX * 2).map(|_| buffer()).collect();
        drop(many);
        let kept = POOL.with(|pool| std::iter::from_fn(|| pool.take()).count());
        assert_eq!(kept, POOLED_MAX);
    }
}
