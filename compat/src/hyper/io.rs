//! The io traits of hyper over those of `futures`, and the other way.

use bytes::{Buf, Bytes};
use futures::io::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use pin_project_lite::pin_project;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// A stream with the io traits of hyper, over one with those of `futures` (our sockets, TLS over them), or the other way
    /// (an upgraded connection of hyper's).
    ///
    /// # Examples
    /// ```
    /// use aqueduct::{Wait, net::{TcpListener, TcpStream}};
    /// use aqueduct_compat::hyper::Io;
    /// use futures::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// // To hyper and back again.
    /// let mut client = Io::new(Io::new(TcpStream::connect(listener.local_addr()?)?));
    /// let (mut server, _) = listener.accept()?;
    /// client.write_all(b"over").wait()?;
    /// let mut word = [0; 4];
    /// server.read_exact(&mut word).wait()?;
    /// assert_eq!(&word, b"over");
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct Io<T> {
        #[pin]
        inner: T,
        // What has been read of the stream already.
        prefix: Bytes,
        vectored: bool,
    }
}

impl<T> Io<T> {
    /// Wraps a stream. hyper writes a message in one piece where it is small enough, and copies it together for that.
    pub fn new(inner: T) -> Self {
        Self { inner, prefix: Bytes::new(), vectored: false }
    }

    /// As [`new`](Self::new), for a stream that writes several slices with one call, as sockets do: hyper then copies nothing.
    pub fn vectored(inner: T) -> Self {
        Self { vectored: true, ..Self::new(inner) }
    }

    /// A stream of which `prefix` has been read already: that comes first.
    #[must_use]
    pub fn with_prefix(mut self, prefix: Bytes) -> Self {
        self.prefix = prefix;
        self
    }

    /// The stream inside.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The stream inside, mutably. What is read there is not read here.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// The stream, and what has been read of it but not been taken here.
    pub fn into_parts(self) -> (T, Bytes) {
        (self.inner, self.prefix)
    }
}

impl<T: AsyncRead> Read for Io<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        if !this.prefix.is_empty() {
            let n = this.prefix.len().min(cursor.remaining());
            cursor.put_slice(&this.prefix[..n]);
            this.prefix.advance(n);
            return Poll::Ready(Ok(()));
        }
        // hyper's buffer is not initialised. Copying what has come out of one that is costs less than filling all of it with
        // zeroes first: most messages are short. (At rest it belongs to the thread, not to the connection.)
        let mut buffer = aqueduct::io::buffer();
        let wanted = buffer.len().min(cursor.remaining());
        let n = ready!(this.inner.poll_read(cx, &mut buffer[..wanted]))?;
        cursor.put_slice(&buffer[..n]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite> Write for Io<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_close(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write_vectored(cx, bufs)
    }
}

impl<T: Read> AsyncRead for Io<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.project();
        if !this.prefix.is_empty() {
            let n = this.prefix.len().min(buf.len());
            this.prefix.copy_to_slice(&mut buf[..n]);
            return Poll::Ready(Ok(n));
        }
        let mut buf = ReadBuf::new(buf);
        ready!(this.inner.poll_read(cx, buf.unfilled()))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl<T: Write> AsyncWrite for Io<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_shutdown(cx)
    }
}
