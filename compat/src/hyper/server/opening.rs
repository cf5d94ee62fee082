//! The first bytes of a connection, which tell the version.

use bytes::{Bytes, BytesMut};
use futures::io::AsyncRead;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::ready;

/// What a client begins HTTP/2 with (RFC 9113, section 3.4); nothing in HTTP/1 begins so.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How much is read at once, in bytes: the heads of most requests.
const FIRST_READ: usize = 8 * 1024;

/// What has been read, and what it says.
pub(super) struct Opening {
    pub(super) read: Bytes,
    pub(super) is_http2: bool,
}

/// Reads until the version is clear, or the client has ended. `None`: it ended without a byte.
pub(super) async fn read<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<Option<Opening>> {
    let mut read = BytesMut::new();
    loop {
        let ended = read_some(io, &mut read).await? == 0;
        let is_http2 = read.starts_with(PREFACE);
        if is_http2 || ended || !PREFACE.starts_with(&read) {
            let opening = Opening { read: read.freeze(), is_http2 };
            return Ok(Some(opening).filter(|opening| !opening.read.is_empty()));
        }
    }
}

async fn read_some<T: AsyncRead + Unpin>(io: &mut T, read: &mut BytesMut) -> io::Result<usize> {
    poll_fn(|cx| {
        // Borrowed for one poll: a connection that idles holds none.
        let mut buffer = aqueduct::io::buffer();
        let n = ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer[..FIRST_READ]))?;
        read.extend_from_slice(&buffer[..n]);
        io::Result::Ok(n).into()
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use aqueduct::Wait;
    use futures::io::{AsyncReadExt, Cursor};

    /// The version and the bytes read when they come in two pieces, cut at `cut`.
    fn open(bytes: &[u8], cut: usize) -> Option<(bool, Bytes)> {
        let (first, rest) = bytes.split_at(cut);
        let mut io = Cursor::new(first).chain(Cursor::new(rest));
        read(&mut io).wait().unwrap().map(|opening| (opening.is_http2, opening.read))
    }

    #[test]
    fn the_version_is_told_wherever_the_bytes_are_cut() {
        let http2 = [PREFACE, b"\0\0\0\x04"].concat();
        for cut in 1..PREFACE.len() {
            assert!(open(&http2, cut).unwrap().0, "cut at {cut}");
        }
        for http1 in ["GET / HTTP/1.1\r\n", "PRI * HTTP/1.1\r\n", "POST / HTTP/1.1\r\n", "P"] {
            for cut in 1..=http1.len() {
                let (is_http2, read) = open(http1.as_bytes(), cut).unwrap();
                assert!(!is_http2);
                assert!(http1.as_bytes().starts_with(&read));
            }
        }
        assert!(open(b"", 0).is_none());
    }
}
