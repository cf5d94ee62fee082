//! Readiness: what is reported, to whom, and when it is taken back.

use std::cell::Cell;
use std::future::Future;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use futures::task::noop_waker;
use futures_test::task::{new_count_waker, noop_context};

use super::*;
use crate::reactor::poller::{Event, Key};

fn would_block<T>() -> io::Result<T> {
    Err(io::ErrorKind::WouldBlock.into())
}

#[test]
fn data_and_fin_before_the_first_wait_are_both_seen() {
    let reactor = new_reactor();
    let (socket, mut peer) = Socket::unregistered();
    peer.write_all(&[7; 64]).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    socket.source.register_with(Direction::Read, reactor).unwrap();
    let mut buffer = [0; 1024];
    assert_eq!(drive(reactor, |cx| socket.poll_read(cx, &mut buffer)).unwrap(), 64);
    assert_eq!(drive(reactor, |cx| socket.poll_read(cx, &mut buffer)).unwrap(), 0);
}

#[test]
fn data_and_fin_over_tcp_are_both_seen() {
    let reactor = new_reactor();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    // SAFETY: locals are dropped in reverse: the source goes before the stream.
    let source = unsafe { Source::new(stream.as_raw_fd()) };
    source.register_with(Direction::Read, reactor).unwrap();
    peer.write_all(&[7; 64]).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let mut buffer = [0; 1024];
    let mut read = |cx: &mut Context<'_>| {
        source.poll_transfer(Direction::Read, cx, buffer.len(), || (&stream).read(&mut buffer))
    };
    assert_eq!(drive(reactor, &mut read).unwrap(), 64);
    assert_eq!(drive(reactor, &mut read).unwrap(), 0);
}

#[test]
fn fin_between_the_event_and_the_short_read_is_seen() {
    let reactor = new_reactor();
    let (socket, mut peer) = Socket::new(reactor);
    peer.write_all(b"x").unwrap();
    // The event of the data alone is delivered, then FIN comes, then the read.
    drive(reactor, |cx| socket.source.poll_ready(Direction::Read, cx)).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let mut buffer = [0; 8];
    assert_eq!(drive(reactor, |cx| socket.poll_read(cx, &mut buffer)).unwrap(), 1);
    assert_eq!(drive(reactor, |cx| socket.poll_read(cx, &mut buffer)).unwrap(), 0);
}

#[cfg(not(aqueduct_portable_poller))]
#[test]
fn a_short_read_saves_the_second_one() {
    let reactor = new_reactor();
    let (socket, mut peer) = Socket::new(reactor);
    for byte in 0..3 {
        peer.write_all(&[byte]).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(drive(reactor, |cx| socket.poll_read(cx, &mut buffer)).unwrap(), 1);
        let second =
            socket.source.try_io(Direction::Read, || -> io::Result<()> { panic!("known to be drained") });
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

#[test]
fn events_delivered_out_of_order_do_not_hide_the_end() {
    let reactor = new_reactor();
    let (socket, mut peer) = Socket::new(reactor);
    let slot = socket.source.slot();
    let key = lock(slot.tenancy()).key();
    peer.write_all(b"x").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    // One poller fetched the data's event, another that of the end, and was faster.
    for tail in [true, false] {
        let event = Event { key, readable: true, writable: true, tail };
        slot.deliver(event, &mut VecDeque::new());
    }
    let mut buffer = [0; 8];
    let cx = &mut noop_context();
    assert!(matches!(socket.poll_read(cx, &mut buffer), Poll::Ready(Ok(1))));
    assert!(matches!(socket.poll_read(cx, &mut buffer), Poll::Ready(Ok(0))));
}

#[test]
fn a_full_read_leaves_readiness() {
    let reactor = new_reactor();
    let (socket, mut peer) = Socket::new(reactor);
    peer.write_all(b"four").unwrap();
    let mut buffer = [0; 2];
    for expected in [b"fo", b"ur"] {
        assert_eq!(drive(reactor, |cx| socket.poll_read(cx, &mut buffer)).unwrap(), 2);
        assert_eq!(&buffer, expected);
    }
    assert!(socket.poll_read(&mut noop_context(), &mut buffer).is_pending());
}

#[test]
fn an_event_during_the_operation_beats_its_would_block() {
    let reactor = new_reactor();
    let (socket, mut peer) = Socket::new(reactor);
    peer.write_all(b"x").unwrap();
    drive(reactor, |cx| socket.source.poll_ready(Direction::Read, cx)).unwrap();
    let runs = Cell::new(0);
    let result = socket.source.poll_io(Direction::Read, &mut noop_context(), || {
        runs.set(runs.get() + 1);
        if runs.get() > 1 {
            return Ok(());
        }
        socket.source.slot().readiness().report(true, false, false);
        would_block()
    });
    assert!(matches!(result, Poll::Ready(Ok(()))), "the operation is run again");
}

#[test]
fn all_who_wait_for_a_direction_are_woken_once() {
    let reactor = new_reactor();
    let (socket, mut peer) = Socket::new(reactor);
    let wakers: Vec<_> = (0..4).map(|_| new_count_waker()).collect();
    for (waker, _) in &wakers {
        // Twice: the second poll does not add the same waker again.
        for _ in 0..2 {
            assert!(socket.poll_read(&mut Context::from_waker(waker), &mut [0; 8]).is_pending());
        }
    }
    peer.write_all(b"x").unwrap();
    turn(reactor);
    assert!(wakers.iter().all(|(_, count)| count.get() == 1));
    look(reactor);
    assert!(wakers.iter().all(|(_, count)| count.get() == 1), "those woken are enrolled no longer");
}

#[test]
fn readers_and_writers_wait_apart() {
    let reactor = new_reactor();
    let (socket, mut peer) = Socket::new(reactor);
    let ((reader, reads), (writer, writes)) = (new_count_waker(), new_count_waker());
    assert!(socket.poll_read(&mut Context::from_waker(&reader), &mut [0; 8]).is_pending());
    let mut sent = 0;
    while let Poll::Ready(result) = socket.poll_write(&mut Context::from_waker(&writer), &[1; 4096]) {
        sent += result.unwrap();
    }
    look(reactor);
    peer.write_all(b"x").unwrap();
    while reads.get() == 0 {
        turn(reactor);
    }
    assert_eq!(writes.get(), 0, "there is no room to write yet");
    peer.read_exact(&mut vec![0; sent]).unwrap();
    while writes.get() == 0 {
        turn(reactor);
    }
    assert_eq!(reads.get(), 1);
}

#[test]
fn a_dropped_waiter_takes_its_waker_back() {
    let reactor = new_reactor();
    let (socket, mut peer) = Socket::new(reactor);
    let wakers: Vec<_> = (0..3).map(|_| Arc::new(Counter::default())).collect();
    let mut waits: Vec<_> = wakers.iter().map(|_| socket.source.ready(Direction::Read)).collect();
    for (wait, counter) in waits.iter_mut().zip(&wakers) {
        let waker = Waker::from(counter.clone());
        // Two polls leave one waker.
        for _ in 0..2 {
            assert!(Pin::new(&mut *wait).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(waker);
        assert_eq!(Arc::strong_count(counter), 2);
    }
    drop(waits.remove(1));
    assert_eq!(Arc::strong_count(&wakers[1]), 1);
    peer.write_all(b"x").unwrap();
    turn(reactor);
    let woken: Vec<_> = wakers.iter().map(|counter| counter.0.load(Ordering::Relaxed)).collect();
    assert_eq!(woken, [1, 0, 1]);
    for wait in waits {
        assert!(matches!(drive_once(wait), Poll::Ready(Ok(()))));
    }
}

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn drive_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut noop_context())
}

#[test]
fn close_wakes_and_fails_everybody() {
    let reactor = new_reactor();
    let (socket, _peer) = Socket::new(reactor);
    let (waker, count) = new_count_waker();
    assert!(socket.poll_read(&mut Context::from_waker(&waker), &mut [0; 8]).is_pending());
    assert!(!socket.source.is_closed());
    socket.source.close();
    assert_eq!(count.get(), 1);
    assert!(socket.source.is_closed());
    let is_closed = |result: Poll<io::Result<usize>>| match result {
        Poll::Ready(Err(error)) => error.kind() == io::ErrorKind::NotConnected,
        _ => false,
    };
    let cx = &mut noop_context();
    assert!(is_closed(socket.poll_read(cx, &mut [0; 8])));
    assert!(is_closed(socket.poll_write(cx, &[0; 8])));
    assert!(is_closed(socket.source.poll_ready(Direction::Read, cx).map_ok(|()| 0)));
    assert!(is_closed(Poll::Ready(socket.source.try_io(Direction::Write, || panic!("closed")))));
    socket.source.close();
}

#[test]
fn dropping_a_source_drops_its_wakers_and_its_registration() {
    let reactor = new_reactor();
    let (socket, mut peer) = Socket::new(reactor);
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(counter.clone());
    assert!(socket.poll_read(&mut Context::from_waker(&waker), &mut [0; 8]).is_pending());
    let Socket { source, stream } = socket;
    drop((source, waker));
    assert_eq!(Arc::strong_count(&counter), 1);
    // Still open, and readable: an entry left behind would report it.
    peer.write_all(b"x").unwrap();
    let signals = reactor.poller.wait(Some(Duration::ZERO), |_| (), |event| panic!("{event:?}"));
    assert!(signals.is_ok());
    drop(stream);
}

#[test]
fn an_event_for_an_earlier_tenant_wakes_nobody() {
    let reactor = new_reactor();
    let key_of = |source: &Source| lock(source.slot().tenancy()).key();
    // Other tests take slots, too; the one given back last is nearly always the next one taken.
    for _ in 0..1000 {
        let (earlier, _peer) = Socket::new(reactor);
        let (slot, key) = (earlier.source.slot(), key_of(&earlier.source));
        drop(earlier);
        let (newcomer, _peer) = Socket::new(reactor);
        if !std::ptr::eq(slot, newcomer.source.slot()) {
            continue;
        }
        let (waker, count) = new_count_waker();
        let cx = &mut Context::from_waker(&waker);
        assert!(newcomer.poll_read(cx, &mut [0; 8]).is_pending());
        let mut wakes = VecDeque::new();
        slot.deliver(Event { key, readable: true, writable: true, tail: true }, &mut wakes);
        assert!(wakes.is_empty() && count.get() == 0);
        let present = key_of(&newcomer.source);
        slot.deliver(Event { key: present, readable: true, writable: true, tail: true }, &mut wakes);
        assert_eq!(wakes.len(), 1);
        return;
    }
    panic!("no slot was ever reused");
}

#[test]
fn an_error_leaves_readiness() {
    let reactor = new_reactor();
    let (socket, mut peer) = Socket::new(reactor);
    peer.write_all(b"x").unwrap();
    drive(reactor, |cx| socket.source.poll_ready(Direction::Read, cx)).unwrap();
    let runs = Cell::new(0);
    for _ in 0..3 {
        let result = socket.source.poll_io(Direction::Read, &mut noop_context(), || -> io::Result<()> {
            runs.set(runs.get() + 1);
            Err(io::Error::from_raw_os_error(libc::EMFILE))
        });
        assert!(matches!(result, Poll::Ready(Err(error)) if error.raw_os_error() == Some(libc::EMFILE)));
    }
    assert_eq!(runs.get(), 3, "the next attempt needs no new event");
}

#[test]
fn an_unregistered_source_tries_each_time() {
    let (socket, _peer) = Socket::unregistered();
    let runs = Cell::new(0);
    for _ in 0..3 {
        let result = socket.source.try_io(Direction::Read, || {
            runs.set(runs.get() + 1);
            would_block::<()>()
        });
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
    assert_eq!(runs.get(), 3);
}

#[test]
fn the_direction_not_waited_for_is_tried_after_registration() {
    let reactor = new_reactor();
    let (socket, _peer) = Socket::unregistered();
    socket.source.register_with(Direction::Read, reactor).unwrap();
    // No event has been delivered: nobody has polled.
    assert!(matches!(socket.poll_write(&mut noop_context(), b"x"), Poll::Ready(Ok(1))));
}

#[test]
fn an_interrupted_operation_is_run_again() {
    let (socket, _peer) = Socket::unregistered();
    let runs = Cell::new(0);
    let result = socket.source.try_io(Direction::Read, || {
        runs.set(runs.get() + 1);
        if runs.get() < 3 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(runs.get()) }
    });
    assert_eq!(result.unwrap(), 3);
}

#[test]
fn a_regular_file_is_refused_with_the_remedy() {
    let reactor = new_reactor();
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    // SAFETY: locals are dropped in reverse: the source goes before the file.
    let source = unsafe { Source::new(file.as_raw_fd()) };
    let error = source.register_with(Direction::Read, reactor).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("blocking"), "{error}");
    // Waiting says the same, each time, and nothing is left behind.
    for _ in 0..2 {
        let waker = noop_waker();
        let result = source.poll_ready(Direction::Read, &mut Context::from_waker(&waker));
        assert!(matches!(result, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Unsupported));
    }
}

#[test]
fn the_pollers_own_keys_belong_to_no_slot() {
    for key in [Key::NOTIFY, Key::TIMER] {
        assert!(slot::get(key.index()).is_none());
    }
}

/// Keys are announced ahead of their events, the pollers' own as well.
#[test]
fn a_notification_comes_among_many_events() {
    let reactor = new_reactor();
    let sockets: Vec<_> = (0..64).map(|_| Socket::new(reactor)).collect();
    let (waker, count) = new_count_waker();
    for (socket, _) in &sockets {
        assert!(socket.poll_read(&mut Context::from_waker(&waker), &mut [0; 8]).is_pending());
    }
    for (_, peer) in &sockets[..32] {
        (&*peer).write_all(b"x").unwrap();
    }
    reactor.notify();
    for (_, peer) in &sockets[32..] {
        (&*peer).write_all(b"x").unwrap();
    }
    look(reactor);
    assert_eq!(count.get(), 64);
}
