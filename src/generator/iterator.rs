//! Iterators, and streams, written as code that yields.

#![forbid(unsafe_code)]

use super::body::{Step, Suspender};
use super::coroutine::Coroutine;
use futures::Stream;
use futures::stream::FusedStream;
use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// An iterator written as code that yields its items. See [`Coroutine`] for stacks, tasks, drops, and why it borrows nothing; an
/// iterator that does is made with a [`ScopedCoroutine`](super::ScopedCoroutine).
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
/// use std::rc::Rc;
///
/// type Tree = Rc<[Vec<usize>]>;
///
/// fn depth_first(tree: Tree, node: usize) -> Generator<usize> {
///     Generator::new(move |items| {
///         items.suspend(node);
///         for child in &tree[node] {
///             depth_first(tree.clone(), *child).for_each(|node| items.suspend(node));
///         }
///     })
/// }
///
/// let tree = Tree::from([vec![1, 2], vec![3], vec![], vec![]]);
/// assert_eq!(depth_first(tree, 0).collect::<Vec<_>>(), [0, 1, 3, 2]);
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
pub struct Generator<T> {
    /// None: there are no more items.
    coroutine: Option<Coroutine<(), T, ()>>,
}

impl<T: 'static> Generator<T> {
    /// A generator of the items that `f` suspends itself with.
    ///
    /// # Panics
    /// When no stack can be had; [`with_stack_size`](Self::with_stack_size) tells why instead.
    #[track_caller]
    pub fn new<F>(f: F) -> Self
    where
        F: FnOnce(&Suspender<'_, (), T>) + 'static,
    {
        Self::from(Coroutine::new(move |suspender: &Suspender<'_, (), T>, ()| f(suspender)))
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
        F: FnOnce(&Suspender<'_, (), T>) + 'static,
    {
        Coroutine::with_stack_size(bytes, move |suspender: &Suspender<'_, (), T>, ()| f(suspender))
            .map(Self::from)
    }

    /// The items as a stream, which is always ready: what the body waits for suspends the task that polls it.
    pub fn stream(self) -> GeneratorStream<T> {
        GeneratorStream { items: self }
    }
}

impl<T> From<Coroutine<(), T, ()>> for Generator<T> {
    fn from(coroutine: Coroutine<(), T, ()>) -> Self {
        Self { coroutine: (!coroutine.is_finished()).then_some(coroutine) }
    }
}

impl<T> Iterator for Generator<T> {
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

impl<T> FusedIterator for Generator<T> {}

impl<T> fmt::Debug for Generator<T> {
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
pub struct GeneratorStream<T> {
    items: Generator<T>,
}

impl<T> Stream for GeneratorStream<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        ready!(crate::wait::poll_budget(cx));
        Poll::Ready(self.items.next())
    }
}

impl<T> FusedStream for GeneratorStream<T> {
    fn is_terminated(&self) -> bool {
        self.items.coroutine.is_none()
    }
}
