//! Unix sockets: streams, listeners and datagrams over every kind of party, full queues, names, descriptors.

mod common;
mod net_common;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::FromRawFd;
use std::path::PathBuf;
use std::time::Duration;

use aqueduct::net::{UnixDatagram, UnixListener, UnixStream};
use aqueduct::{Wait, go, spawn};
use common::party::{PARTIES, pairs};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use net_common::{everywhere, pattern};

/// A folder for socket files; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("aqueduct-unix-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_party_connects_and_every_party_serves() {
    let _dog = common::watchdog!(60);
    let folder = Folder::new();
    for (i, (client, server)) in pairs().enumerate() {
        let path = folder.at(&i.to_string());
        let listener = UnixListener::bind(&path).unwrap();
        let handle = listener.try_clone().unwrap();
        let serving = server.start(
            move || {
                let (mut stream, peer) = listener.accept().unwrap();
                assert!(peer.is_unnamed());
                let mut text = String::new();
                Read::read_to_string(&mut stream, &mut text).unwrap();
                Write::write_all(&mut stream, text.as_bytes()).unwrap();
            },
            async move {
                let (mut stream, peer) = handle.accept_async().await.unwrap();
                assert!(peer.is_unnamed());
                let mut text = String::new();
                AsyncReadExt::read_to_string(&mut stream, &mut text).await.unwrap();
                AsyncWriteExt::write_all(&mut stream, text.as_bytes()).await.unwrap();
            },
        );
        let message = "x".repeat(300_000);
        let (sent, path2) = (message.clone(), path.clone());
        let (sent2, expected) = (message.clone(), message);
        let asking = client.start(
            move || {
                let mut stream = UnixStream::connect(&path).unwrap();
                let mut text = String::new();
                Write::write_all(&mut stream, sent.as_bytes()).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                Read::read_to_string(&mut stream, &mut text).unwrap();
                text
            },
            async move {
                let mut stream = UnixStream::connect_async(&path2).await.unwrap();
                let mut text = String::new();
                AsyncWriteExt::write_all(&mut stream, sent2.as_bytes()).await.unwrap();
                AsyncWriteExt::close(&mut stream).await.unwrap();
                AsyncReadExt::read_to_string(&mut stream, &mut text).await.unwrap();
                text
            },
        );
        assert_eq!(asking.join(), expected, "{client:?} {server:?}");
        serving.join();
    }
}

#[test]
fn a_pair_is_read_written_vectored_and_peeked() {
    everywhere(|| {
        let (mut left, mut right) = UnixStream::pair().unwrap();
        let parts = [IoSlice::new(b"one "), IoSlice::new(b"two")];
        assert_eq!(Write::write_vectored(&mut left, &parts).unwrap(), 7);
        let mut buffer = [0; 3];
        assert_eq!(right.peek(&mut buffer).unwrap(), 3);
        assert_eq!(right.peek_async(&mut buffer).wait().unwrap(), 3);
        let (mut head, mut tail) = ([0; 4], [0; 16]);
        let mut bufs = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)];
        assert_eq!(Read::read_vectored(&mut right, &mut bufs).unwrap(), 7);
        assert_eq!((&head, &tail[..3]), (b"one ", &b"two"[..]));
        let peer = left.peer_credentials().unwrap();
        #[cfg(target_os = "linux")]
        assert_eq!(peer.pid, Some(std::process::id()));
        // SAFETY: cannot fail, touches nothing.
        assert_eq!(peer.uid, unsafe { libc::geteuid() });
    });
}

#[test]
fn a_short_read_at_a_passed_descriptor_does_not_hide_what_follows() {
    // The system ends a read at a message that carried a descriptor, and the peer decides when to send one.
    everywhere(|| {
        let (left, right) = UnixStream::pair().unwrap();
        let reader = go(move || {
            let (mut total, mut buffer) = (0, [0; 64]);
            loop {
                match Read::read(&mut &right, &mut buffer).unwrap() {
                    0 => return total,
                    n => total += n,
                }
            }
        });
        let raw = left.into_std().unwrap();
        for _ in 0..20 {
            send_with_descriptor(&raw, b"abc");
            (&raw).write_all(b"def").unwrap();
        }
        drop(raw);
        assert_eq!(reader.join().unwrap(), 120);
    });
}

fn send_with_descriptor(socket: &std::os::unix::net::UnixStream, bytes: &[u8]) {
    use std::os::fd::AsRawFd;
    let mut part = libc::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: bytes.len() };
    let mut control = [0_u64; 8];
    // SAFETY: the message points at the buffers above, which are large enough for one descriptor.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(socket.as_raw_fd());
        assert_eq!(libc::sendmsg(socket.as_raw_fd(), &raw const message, 0), bytes.len() as isize);
    }
}

#[test]
fn timeouts_closing_and_cancelling_lose_nothing() {
    let _dog = common::watchdog!(30);
    aqueduct::run(|| {
        let (left, right) = UnixStream::pair().unwrap();
        right.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert_eq!(Read::read(&mut &right, &mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        right.set_read_timeout(None).unwrap();
        let waiting = go({
            let right = right.try_clone().unwrap();
            move || Read::read(&mut &right, &mut [0; 8]).map(drop)
        });
        common::until_waiting(&aqueduct::Handle::current(), waiting.id());
        waiting.cancel();
        assert!(waiting.join().unwrap_err().is_cancelled());
        {
            use futures::FutureExt;
            assert!(AsyncReadExt::read(&mut &right, &mut [0; 8]).now_or_never().is_none());
        }
        Write::write_all(&mut &left, b"kept").unwrap();
        assert_eq!(Read::read(&mut &right, &mut [0; 8]).unwrap(), 4);
        let waiting = go({
            let right = right.try_clone().unwrap();
            move || Read::read(&mut &right, &mut [0; 8]).unwrap_err().kind()
        });
        right.close();
        assert_eq!(waiting.join().unwrap(), ErrorKind::NotConnected);
        assert_eq!(Read::read(&mut &left, &mut [0; 8]).unwrap(), 0);
        assert_eq!(Write::write(&mut &left, b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_write_to_a_peer_that_stalls_times_out() {
    everywhere(|| {
        let (mut left, _right) = UnixStream::pair().unwrap();
        left.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        assert_eq!(Write::write_all(&mut left, &vec![1; 8 << 20]).unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn connecting_waits_while_the_queue_is_full() {
    everywhere(|| {
        let folder = Folder::new();
        let path = folder.at("full");
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        socket.listen(1).unwrap();
        let listener = UnixListener::from_std(socket.into()).unwrap();
        let clients: Vec<_> = (0..12)
            .map(|i| {
                let path = path.clone();
                if i % 2 == 0 {
                    go(move || UnixStream::connect(path).map(drop))
                } else {
                    spawn(async move { UnixStream::connect_async(path).await.map(drop) })
                }
            })
            .collect();
        for _ in 0..12 {
            listener.accept().unwrap();
        }
        clients.into_iter().for_each(|client| client.join().unwrap().unwrap());
        assert_eq!(listener.try_accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn closing_a_listener_ends_accept_and_incoming() {
    everywhere(|| {
        let folder = Folder::new();
        let path = folder.at("closing");
        let listener = UnixListener::bind(&path).unwrap();
        let (a, b, c) =
            (listener.try_clone().unwrap(), listener.try_clone().unwrap(), listener.try_clone().unwrap());
        let accept = go(move || a.accept().unwrap_err().kind());
        let incoming = go(move || b.incoming().count());
        let stream = spawn(async move { c.incoming_async().count().await });
        listener.close();
        assert_eq!(accept.join().unwrap(), ErrorKind::NotConnected);
        assert_eq!(incoming.join().unwrap(), 0);
        assert_eq!(stream.join().unwrap(), 0);
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn errors_say_what_is_wrong() {
    let folder = Folder::new();
    let path = folder.at("taken");
    assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::NotFound);
    drop(UnixListener::bind(&path).unwrap());
    assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let error = UnixListener::bind(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert!(error.to_string().contains("remove it"), "{error}");
    let long = folder.at(&"x".repeat(200));
    assert_eq!(UnixStream::connect(&long).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(UnixListener::bind(&long).unwrap_err().kind(), ErrorKind::InvalidInput);
    let unnamed = UnixStream::pair().unwrap().0.local_addr().unwrap();
    assert_eq!(UnixStream::connect_addr(&unnamed).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[cfg(target_os = "linux")]
#[test]
fn abstract_names_need_no_file() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    everywhere(|| {
        let name = format!("aqueduct-{}-{:?}", std::process::id(), std::thread::current().id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        assert_eq!(listener.local_addr().unwrap().as_abstract_name(), Some(name.as_bytes()));
        let mut client = UnixStream::connect_addr(&address).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        Write::write_all(&mut client, b"!").unwrap();
        assert_eq!(Read::read(&mut server, &mut [0; 8]).unwrap(), 1);
        assert_eq!(client.peer_addr().unwrap().as_abstract_name(), Some(name.as_bytes()));

        let name = format!("{name}-datagram");
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let receiver = UnixDatagram::bind_addr(&address).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to_addr(b"go", &address).unwrap();
        sender.send_to_addr_async(b"async", &address).wait().unwrap();
        sender.connect_addr(&address).unwrap();
        sender.send(b"peer").unwrap();
        let mut buffer = [0; 8];
        let lengths = [(); 3].map(|()| receiver.recv(&mut buffer).unwrap());
        assert_eq!(lengths, [2, 5, 4]);
    });
}

#[test]
fn datagrams_of_every_party_arrive_whole_and_in_order_through_a_full_queue() {
    let _dog = common::watchdog!(60);
    const COUNT: usize = 1_500;
    for party in PARTIES {
        let folder = Folder::new();
        let path = folder.at("receiver");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        let connected = UnixDatagram::unbound().unwrap();
        connected.connect(&path).unwrap();
        let (sender2, path2, connected2) =
            (sender.try_clone().unwrap(), path.clone(), connected.try_clone().unwrap());
        // More than any queue holds, while nobody receives: both kinds of sender have to wait for room.
        let sending = party.start(
            move || {
                for i in 0..COUNT {
                    let message = pattern(1 + i % 100, i as u64);
                    let sent =
                        if i % 2 == 0 { sender.send_to(&message, &path) } else { connected.send(&message) };
                    assert_eq!(sent.unwrap(), message.len());
                }
            },
            async move {
                for i in 0..COUNT {
                    let message = pattern(1 + i % 100, i as u64);
                    let sent = if i % 2 == 0 {
                        sender2.send_to_async(&message, &path2).await
                    } else {
                        connected2.send_async(&message).await
                    };
                    assert_eq!(sent.unwrap(), message.len());
                }
            },
        );
        let mut buffer = [0; 128];
        for i in 0..COUNT {
            let (n, from) = receiver.recv_from(&mut buffer).unwrap();
            assert!(from.is_unnamed());
            assert_eq!(buffer[..n], pattern(1 + i % 100, i as u64), "{party:?}, message {i}");
        }
        sending.join();
    }
}

#[test]
fn a_datagram_without_room_times_out_or_would_block() {
    everywhere(|| {
        let folder = Folder::new();
        let path = folder.at("full");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        let error =
            (0..100_000).find_map(|_| sender.try_send_to(b"x", &path).err()).expect("queues are finite");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        sender.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        assert_eq!(sender.send_to(b"x", &path).unwrap_err().kind(), ErrorKind::TimedOut);
        let waiting = go({
            let sender = sender.try_clone().unwrap();
            sender.set_write_timeout(None).unwrap();
            let path = path.clone();
            move || sender.send_to(b"last", &path).unwrap_err().kind()
        });
        common::until_waiting(&aqueduct::Handle::current(), waiting.id());
        sender.close();
        assert_eq!(waiting.join().unwrap(), ErrorKind::NotConnected);
        drop(receiver);
    });
}

#[test]
fn conversions_keep_the_descriptor() {
    use std::os::fd::AsRawFd;
    let (left, right) = UnixStream::pair().unwrap();
    let number = left.as_raw_fd();
    let std = std::os::unix::net::UnixStream::try_from(left).unwrap();
    assert_eq!(std.as_raw_fd(), number);
    let left = UnixStream::try_from(std).unwrap();
    assert_eq!(left.as_raw_fd(), number);
    let copy = right.try_clone().unwrap();
    assert_ne!(right.into_std().unwrap().as_raw_fd(), copy.as_raw_fd());
    assert!(format!("{left:?} {copy:?}").contains("UnixStream"));
}

#[test]
fn no_descriptor_is_left() {
    common::child::alone(common::test_path!(), || {
        let folder = Folder::new();
        let path = folder.at("socket");
        let once = || {
            aqueduct::run(|| {
                let _ = std::fs::remove_file(&path);
                let listener = UnixListener::bind(&path).unwrap();
                let accepting = go(move || listener.accept().unwrap());
                drop(UnixStream::connect(&path).unwrap());
                let (mut stream, _) = accepting.join().unwrap();
                assert_eq!(Read::read(&mut stream, &mut [0; 1]).unwrap(), 0);
                let (a, b) = UnixDatagram::pair().unwrap();
                a.send(b"x").unwrap();
                b.recv(&mut [0; 1]).unwrap();
            });
        };
        once();
        let before = common::proc::descriptors();
        (0..50).for_each(|_| once());
        assert_eq!(common::proc::descriptors(), before);
    });
}

#[test]
fn a_client_whose_name_takes_all_108_bytes_is_accepted() {
    let folder = Folder::new();
    let listener = UnixListener::bind(folder.at("server")).unwrap();
    let prefix = format!("{}/", folder.0.display());
    let name: Vec<u8> = prefix.bytes().chain(std::iter::repeat(b'x')).take(108).collect();
    // SAFETY: system calls on live memory, which is as large as they are told.
    let client = unsafe {
        let descriptor = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0);
        let mut own: libc::sockaddr_un = std::mem::zeroed();
        own.sun_family = libc::AF_UNIX as _;
        for (to, from) in own.sun_path.iter_mut().zip(&name) {
            *to = *from as _;
        }
        assert_eq!(libc::bind(descriptor, (&raw const own).cast(), size_of_val(&own) as _), 0);
        std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from_raw_fd(descriptor))
    };
    socket2::SockRef::from(&client).connect(&socket2::SockAddr::unix(folder.at("server")).unwrap()).unwrap();
    let (_stream, peer) = listener.accept().unwrap();
    // No address of `std` has room for it.
    assert!(peer.is_unnamed());
}
