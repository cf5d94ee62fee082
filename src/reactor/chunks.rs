//! A slab in chunks: values stay at their index, and a chunk whose values are all gone returns its memory.
//!
//! New values go to the lowest chunk with room, so that after a burst the higher ones run empty.

#![forbid(unsafe_code)]

const NIL: u32 = u32::MAX;

/// Values in a chunk: 10 KiB of timers. Guessed.
const CHUNK: u32 = 256;

#[derive(Debug)]
pub(super) struct Chunks<T> {
    chunks: Vec<Chunk<T>>,
    /// One bit for each chunk: set if it has room.
    room: Vec<u64>,
    /// No word of `room` before this one has a bit set.
    first_room: usize,
    len: usize,
    /// Empty chunks that still have their memory: at most one, against thrashing.
    spare: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    cells: Vec<Cell<T>>,
    /// The first vacant cell among `cells`, whose successors are linked from it.
    vacant: u32,
    live: u32,
}

#[derive(Debug)]
enum Cell<T> {
    Live(T),
    Vacant(u32),
}

impl<T> Chunks<T> {
    pub(super) const fn new() -> Chunks<T> {
        Chunks { chunks: Vec::new(), room: Vec::new(), first_room: 0, len: 0, spare: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Values there is memory for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.cells.capacity()).sum()
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        let at = self.chunk_with_room();
        let chunk = &mut self.chunks[at];
        if chunk.live == 0 && chunk.cells.capacity() > 0 {
            self.spare -= 1;
        }
        let offset = chunk.insert(value);
        if chunk.live == CHUNK {
            self.room[at / 64] &= !(1 << (at % 64));
        }
        self.len += 1;
        at as u32 * CHUNK + offset
    }

    /// Removes the value at `index`, which is live.
    pub(super) fn remove(&mut self, index: u32) -> T {
        let at = (index / CHUNK) as usize;
        let value = self.chunks[at].remove(index % CHUNK);
        self.room[at / 64] |= 1 << (at % 64);
        self.first_room = self.first_room.min(at / 64);
        self.len -= 1;
        if self.chunks[at].live == 0 {
            self.retire(at);
        }
        value
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        match self.chunks.get((index / CHUNK) as usize)?.cells.get((index % CHUNK) as usize)? {
            Cell::Live(value) => Some(value),
            Cell::Vacant(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.chunks.get_mut((index / CHUNK) as usize)?.cells.get_mut((index % CHUNK) as usize)? {
            Cell::Live(value) => Some(value),
            Cell::Vacant(_) => None,
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flat_map(|chunk| &mut chunk.cells).filter_map(|cell| match cell {
            Cell::Live(value) => Some(value),
            Cell::Vacant(_) => None,
        })
    }

    fn chunk_with_room(&mut self) -> usize {
        while let Some(&word) = self.room.get(self.first_room) {
            if word != 0 {
                return self.first_room * 64 + word.trailing_zeros() as usize;
            }
            self.first_room += 1;
        }
        self.grow()
    }

    fn grow(&mut self) -> usize {
        let at = self.chunks.len();
        self.chunks.push(Chunk { cells: Vec::new(), vacant: NIL, live: 0 });
        if at / 64 == self.room.len() {
            self.room.push(0);
        }
        self.room[at / 64] |= 1 << (at % 64);
        self.first_room = at / 64;
        at
    }

    /// The chunk has run empty: it stays as the spare one, or its memory goes back.
    fn retire(&mut self, at: usize) {
        if self.spare == 0 {
            self.spare = 1;
        } else {
            self.chunks[at].release();
            self.drop_released_tail();
        }
    }

    fn drop_released_tail(&mut self) {
        while self.chunks.last().is_some_and(|chunk| chunk.cells.capacity() == 0) {
            self.chunks.pop();
            let at = self.chunks.len();
            self.room[at / 64] &= !(1 << (at % 64));
        }
        self.room.truncate(self.chunks.len().div_ceil(64));
        self.first_room = self.first_room.min(self.room.len());
        if self.chunks.capacity() > 64 && self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
    }
}

impl<T> Chunk<T> {
    fn insert(&mut self, value: T) -> u32 {
        self.live += 1;
        let offset = self.vacant;
        match self.cells.get_mut(offset as usize) {
            Some(cell) => match std::mem::replace(cell, Cell::Live(value)) {
                Cell::Vacant(next) => self.vacant = next,
                Cell::Live(_) => unreachable!("a live cell in the list of vacant ones"),
            },
            None => {
                self.cells.push(Cell::Live(value));
                return self.cells.len() as u32 - 1;
            }
        }
        offset
    }

    fn remove(&mut self, offset: u32) -> T {
        match std::mem::replace(&mut self.cells[offset as usize], Cell::Vacant(self.vacant)) {
            Cell::Live(value) => {
                self.vacant = offset;
                self.live -= 1;
                value
            }
            Cell::Vacant(_) => unreachable!("the value at this index was removed before"),
        }
    }

    fn release(&mut self) {
        self.cells = Vec::new();
        self.vacant = NIL;
    }
}
