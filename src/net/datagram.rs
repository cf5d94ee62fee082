//! What datagram sockets have in common: each transfer takes one whole datagram or none.
//!
//! A short transfer says nothing about the next datagram, so all of it goes through `poll_io`, under which only
//! `WouldBlock` takes readiness back.
#![forbid(unsafe_code)]

/// The methods of a socket type that carries datagrams to and from addresses of type `$address`.
macro_rules! datagrams {
    ($type:ident, $address:ty) => {
        impl $type {
            /// Waits for a datagram from anybody (from the peer only, on a connected socket), and returns its
            /// length and its sender. What does not fit into `buf` is lost.
            ///
            /// # Blocking
            /// This coroutine; outside the scheduler, this thread; for the read timeout at most.
            ///
            /// # Errors
            /// The system's; [`TimedOut`](std::io::ErrorKind::TimedOut) after the read timeout;
            /// [`NotConnected`](std::io::ErrorKind::NotConnected) once closed.
            #[track_caller]
            pub fn recv_from(&self, buf: &mut [u8]) -> std::io::Result<(usize, $address)> {
                self.shared.input(|socket| socket.recv_from(buf))
            }

            /// The future form of [`recv_from`](Self::recv_from); it knows no timeout.
            ///
            /// # Cancel safety
            /// Dropped: *nothing happened*; a datagram that had come is there for the next.
            ///
            /// # Errors
            /// Those of [`recv_from`](Self::recv_from).
            pub async fn recv_from_async(&self, buf: &mut [u8]) -> std::io::Result<(usize, $address)> {
                self.shared.io.read_with_async(|socket| socket.recv_from(buf)).await
            }

            /// Takes a datagram that has come already. Never waits.
            ///
            /// # Errors
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) when there is none; else those of
            /// [`recv_from`](Self::recv_from).
            pub fn try_recv_from(&self, buf: &mut [u8]) -> std::io::Result<(usize, $address)> {
                self.shared.attempt($crate::reactor::Direction::Read, |socket| socket.recv_from(buf))
            }

            /// Waits for a datagram, and returns its length. What does not fit into `buf` is lost.
            ///
            /// # Blocking
            /// This coroutine; outside the scheduler, this thread; for the read timeout at most.
            ///
            /// # Errors
            /// Those of [`recv_from`](Self::recv_from).
            #[track_caller]
            pub fn recv(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.shared.input(|socket| socket.recv(buf))
            }

            /// The future form of [`recv`](Self::recv); it knows no timeout.
            ///
            /// # Cancel safety
            /// Dropped: *nothing happened*; a datagram that had come is there for the next.
            ///
            /// # Errors
            /// Those of [`recv_from`](Self::recv_from).
            pub async fn recv_async(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.shared.io.read_with_async(|socket| socket.recv(buf)).await
            }

            /// Takes a datagram that has come already. Never waits.
            ///
            /// # Errors
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) when there is none; else those of
            /// [`recv_from`](Self::recv_from).
            pub fn try_recv(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.shared.attempt($crate::reactor::Direction::Read, |socket| socket.recv(buf))
            }

            /// Sends a datagram to the connected peer, waiting for room. Returns its length.
            ///
            /// # Blocking
            /// This coroutine; outside the scheduler, this thread; for the write timeout at most.
            ///
            /// # Errors
            /// The system's: of an unconnected socket
            /// ([`NotConnected`](std::io::ErrorKind::NotConnected) and its like), of a datagram that is too
            /// large, of an earlier one that was refused; [`TimedOut`](std::io::ErrorKind::TimedOut) after the
            /// write timeout.
            #[track_caller]
            pub fn send(&self, buf: &[u8]) -> std::io::Result<usize> {
                self.shared.output(|socket| socket.send(buf))
            }

            /// The future form of [`send`](Self::send); it knows no timeout.
            ///
            /// # Cancel safety
            /// Dropped: *nothing happened*.
            ///
            /// # Errors
            /// Those of [`send`](Self::send).
            pub async fn send_async(&self, buf: &[u8]) -> std::io::Result<usize> {
                self.shared.io.write_with_async(|socket| socket.send(buf)).await
            }

            /// Sends a datagram to the connected peer if there is room. Never waits.
            ///
            /// # Errors
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) when there is none; else those of
            /// [`send`](Self::send).
            pub fn try_send(&self, buf: &[u8]) -> std::io::Result<usize> {
                self.shared.attempt($crate::reactor::Direction::Write, |socket| socket.send(buf))
            }

            /// Ends every wait on any handle, present or later, with
            /// [`NotConnected`](std::io::ErrorKind::NotConnected). The descriptor is released when the last
            /// handle is dropped. Never waits.
            pub fn close(&self) {
                self.shared.io.close();
            }
        }
    };
}
pub(super) use datagrams;
