//! The memory of tasks: each worker keeps what its tasks gave back, for the next ones.
//!
//! A task lives as long as a request or a message. The system's allocator takes 400 instructions for the two ends of that when a
//! thousand tasks are made before the first of them ends (its own caches hold seven of a size), a third of all that a spawn and a
//! join cost; a list that only its worker touches takes ten. Off the workers, and for what is large or aligned to more than the
//! allocator's own, this is the allocator.
//!
//! # Invariants
//! - `one-size`: a block of a class was allocated with the class's layout, wherever; so it may be given back anywhere.
//! - `owned`: a block in a list is nobody else's.

use crate::runtime::current::{self, CurrentHome};
use std::alloc::{self, Layout};
use std::cell::Cell;
use std::fmt;
use std::ptr::{self, NonNull};

/// The smallest size, and by how much one differs from the next. The usual allocators hand out multiples of 16 bytes, of which glibc
/// keeps 8 for itself.
const SMALLEST: usize = 24;
const STEP: usize = 16;
const CLASSES: usize = 48;

/// Bytes kept, of all sizes together: 10,000 tasks of the usual sizes. What is more costs the allocator's 400 instructions each, and page
/// faults where it returns memory to the system: batches of 10,000 empty tasks took 167 ns a task with 256 KiB of each size, 111 with this.
const KEPT: usize = 2 << 20;

/// After so many bytes asked of the allocator a block of that size is asked for and given back. glibc extends the heap of a thread other
/// than the first by a page at a time, a system call each; with a larger block it extends it once, and the small ones are cut from what is
/// left. A million futures spawned, parked and joined: 437 ns each without, 360 with it.
const ROOM: usize = 64 << 10;

/// The sanitizer is to see what is used after it was freed.
const ENABLED: bool = !cfg!(any(feature = "sanitizer", loom, shuttle));

/// A free block's first word.
struct Free {
    next: *mut Free,
}

type Class = Cell<*mut Free>;

/// A worker's free blocks, by size.
pub(crate) struct Blocks {
    classes: [Class; CLASSES],
    bytes: Cell<usize>,
    /// Asked of the allocator since room was made there.
    asked: Cell<usize>,
}

impl Blocks {
    pub(crate) fn new() -> Self {
        Self {
            classes: [const { Class::new(ptr::null_mut()) }; CLASSES],
            bytes: Cell::new(0),
            asked: Cell::new(0),
        }
    }

    #[inline]
    fn take(&self, class: usize) -> Option<NonNull<u8>> {
        let first = &self.classes[class];
        let block = NonNull::new(first.get())?;
        // SAFETY: `owned`.
        first.set(unsafe { block.as_ref() }.next);
        self.bytes.set(self.bytes.get() - size(class));
        Some(block.cast())
    }

    /// A block of a class, of which none is kept.
    fn new_block(&self, class: usize) -> NonNull<u8> {
        let asked = self.asked.get() + size(class);
        self.asked.set(asked % ROOM);
        if asked >= ROOM {
            make_room();
        }
        from_allocator(layout(class))
    }

    /// False: enough are kept.
    ///
    /// # Safety
    /// The block is of this class, and the caller's.
    #[inline]
    unsafe fn put(&self, class: usize, block: NonNull<u8>) -> bool {
        if self.bytes.get() >= KEPT {
            return false;
        }
        let (first, block) = (&self.classes[class], block.cast::<Free>());
        // SAFETY: the caller's promise; every class has room for a word, aligned as that asks.
        unsafe { block.write(Free { next: first.get() }) };
        first.set(block.as_ptr());
        self.bytes.set(self.bytes.get() + size(class));
        true
    }

    /// Gives everything to the allocator: the worker ends.
    pub(crate) fn clear(&self) {
        for class in 0..CLASSES {
            while let Some(block) = self.take(class) {
                // SAFETY: `one-size`, `owned`.
                unsafe { alloc::dealloc(block.as_ptr(), layout(class)) };
            }
        }
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").field("bytes", &self.bytes.get()).finish()
    }
}

#[inline]
const fn size(class: usize) -> usize {
    SMALLEST + class * STEP
}

#[inline]
const fn layout(class: usize) -> Layout {
    match Layout::from_size_align(size(class), STEP) {
        Ok(layout) => layout,
        Err(_) => unreachable!(),
    }
}

/// The class of a layout, if blocks of it are kept.
#[inline]
const fn class(of: Layout) -> Option<usize> {
    let class = of.size().saturating_sub(SMALLEST).div_ceil(STEP);
    if ENABLED && class < CLASSES && of.align() <= STEP { Some(class) } else { None }
}

/// Memory for a task. `here`: the home that the caller drives, if any.
#[inline]
pub(crate) fn allocate(here: Option<CurrentHome>, layout: Layout) -> NonNull<u8> {
    let Some(class) = class(layout) else { return from_allocator(layout) };
    let Some(here) = here else { return from_allocator(self::layout(class)) };
    let blocks = &here.local().memory;
    blocks.take(class).unwrap_or_else(|| blocks.new_block(class))
}

/// Has the allocator extend its heap, if it has to.
#[cold]
fn make_room() {
    let layout = Layout::array::<[u8; STEP]>(ROOM / STEP).expect("far below the largest");
    // SAFETY: not of size 0.
    let block = unsafe { alloc::alloc(layout) };
    // Or the compiler leaves both out.
    let block = std::hint::black_box(block);
    if !block.is_null() {
        // SAFETY: allocated just now, with this layout.
        unsafe { alloc::dealloc(block, layout) };
    }
}

fn from_allocator(layout: Layout) -> NonNull<u8> {
    debug_assert!(layout.size() > 0, "a task has a header");
    // SAFETY: as asserted.
    let block = unsafe { alloc::alloc(layout) };
    NonNull::new(block).unwrap_or_else(|| alloc::handle_alloc_error(layout))
}

/// Gives the memory of a task back.
///
/// # Safety
/// From `allocate`, with the same layout, once.
#[inline]
pub(crate) unsafe fn free(block: NonNull<u8>, layout: Layout) {
    let layout = match class(layout) {
        Some(class) => {
            // SAFETY: `one-size`; the caller's promise.
            if current::home().is_some_and(|here| unsafe { here.local().memory.put(class, block) }) {
                return;
            }
            self::layout(class)
        }
        None => layout,
    };
    // SAFETY: `one-size`; the caller's promise.
    unsafe { alloc::dealloc(block.as_ptr(), layout) };
}
