//! Iterators, and streams, written as code that yields.

#![forbid(unsafe_code)]

use super::coroutine::{Coroutine, Step, Suspender};
use futures::Stream;
use futures::stream::FusedStream;
use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// An iterator written as code that yields its items. See [`Coroutine`] for stacks, tasks and drops.
///
/// # Blocking
/// `next` runs the body up to the next item, with whatever it waits for.
///
/// # Panics
/// When the body panics: then there are no more items.
///
/// # Examples
/// ```
/// use aqueduct::generator::Generator;
///
/// fn depth_first<'a>(tree: &'a [(u32, Vec<u32>)], node: u32) -> Generator<'a, u32> {
///     Generator::new(move |items| {
///         items.suspend(node);
///         for child in &tree[node as usize].1 {
///             depth_first(tree, *child).for_each(|node| items.suspend(node));
///         }
///     })
/// }
///
/// let tree = [(0, vec![1, 2]), (1, vec![3]), (2, vec![]), (3, vec![])];
/// assert_eq!(depth_first(&tree, 0).collect::<Vec<_>>(), [0, 1, 3, 2]);
/// ```
/// As a stream:
/// ```
/// use aqueduct::generator::Generator;
/// use futures::StreamExt;
///
/// let squares = Generator::new(|items| (1..4).for_each(|n| items.suspend(n * n)));
/// let sum = aqueduct::block_on(squares.stream().fold(0, |sum, n| async move { sum + n }));
/// assert_eq!(sum, 14);
/// ```
pub struct Generator<'a, T> {
    /// None: there are no more items.
    coroutine: Option<Coroutine<'a, (), T, ()>>,
}

impl<'a, T: 'a> Generator<'a, T> {
    /// A generator of the items that `f` suspends itself with.
    ///
    /// # Panics
    /// When no stack can be had; [`with_stack_size`](Self::with_stack_size) tells why instead.
    #[track_caller]
    pub fn new<F>(f: F) -> Self
    where
        F: FnOnce(&Suspender<'_, (), T>) + 'a,
    {
        Self::from(Coroutine::new(|suspender: &Suspender<'_, (), T>, ()| f(suspender)))
    }

    /// As [`new`](Self::new), with a stack of so many usable bytes, rounded up as by
    /// [`task::Builder::stack_size`](crate::task::Builder::stack_size).
    ///
    /// # Errors
    /// As [`Coroutine::with_stack_size`].
    ///
    /// # Examples
    /// ```
    /// use aqueduct::generator::Generator;
    ///
    /// let deep = Generator::with_stack_size(8 << 20, |items| (0..3).for_each(|n| items.suspend(n)))?;
    /// assert_eq!(deep.sum::<u32>(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_stack_size<F>(bytes: usize, f: F) -> io::Result<Self>
    where
        F: FnOnce(&Suspender<'_, (), T>) + 'a,
    {
        Coroutine::with_stack_size(bytes, |suspender: &Suspender<'_, (), T>, ()| f(suspender)).map(Self::from)
    }

    /// The items as a stream, which is always ready: what the body waits for suspends the task that polls it.
    pub fn stream(self) -> GeneratorStream<'a, T> {
        GeneratorStream { items: self }
    }
}

impl<'a, T: 'a> From<Coroutine<'a, (), T, ()>> for Generator<'a, T> {
    fn from(coroutine: Coroutine<'a, (), T, ()>) -> Self {
        Self { coroutine: (!coroutine.is_finished()).then_some(coroutine) }
    }
}

impl<T> Iterator for Generator<'_, T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        // Put back only if there may be more: not after a panic.
        let mut coroutine = self.coroutine.take()?;
        match coroutine.resume(()) {
            Step::Suspended(item) => {
                self.coroutine = Some(coroutine);
                Some(item)
            }
            Step::Finished(()) => None,
        }
    }
}

impl<T> FusedIterator for Generator<'_, T> {}

impl<T> fmt::Debug for Generator<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator").field("finished", &self.coroutine.is_none()).finish()
    }
}

/// Stream of [`Generator::stream`].
///
/// # Cancel safety
/// Dropping a future that waits for the next item: *nothing happened*.
#[derive(Debug)]
#[must_use = "streams do nothing unless they are polled"]
pub struct GeneratorStream<'a, T> {
    items: Generator<'a, T>,
}

impl<T> Stream for GeneratorStream<'_, T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        ready!(crate::wait::poll_budget(cx));
        Poll::Ready(self.items.next())
    }
}

impl<T> FusedStream for GeneratorStream<'_, T> {
    fn is_terminated(&self) -> bool {
        self.items.coroutine.is_none()
    }
}
