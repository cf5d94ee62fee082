//! Sources and timers that change reactors, and waits through the runtime's own reactor.

use std::future::poll_fn;
use std::io::Write;
use std::thread;

use futures_test::task::new_count_waker;

use super::*;
use crate::block_on;

#[test]
fn a_source_registers_where_it_is_first_waited_for() {
    let (socket, mut peer) = Socket::unregistered();
    let writer = thread::spawn(move || peer.write_all(b"hello").map(|()| peer));
    let mut buffer = [0; 8];
    let read = block_on(poll_fn(|cx| socket.poll_read(cx, &mut buffer))).unwrap();
    assert_eq!(&buffer[..read], b"hello");
    drop(writer.join().unwrap().unwrap());
    assert_eq!(block_on(poll_fn(|cx| socket.poll_read(cx, &mut buffer))).unwrap(), 0);
}

#[test]
fn ready_waits_without_an_operation() {
    let (socket, mut peer) = Socket::unregistered();
    let writer = thread::spawn(move || peer.write_all(b"x").map(|()| peer));
    block_on(socket.source.ready(Direction::Read)).unwrap();
    assert_eq!((&socket.stream).read(&mut [0; 8]).unwrap(), 1);
    drop(writer.join().unwrap().unwrap());
}

#[test]
fn a_wait_moves_a_source_out_of_a_foreign_local_reactor() {
    let local = new_reactor();
    local.set_mode(Mode::Local);
    let (socket, mut peer) = Socket::new(local);
    peer.write_all(b"x").unwrap();
    // Nobody polls `local`: the bytes are found because the wait is here.
    assert_eq!(block_on(poll_fn(|cx| socket.poll_read(cx, &mut [0; 8]))).unwrap(), 1);
    block_on(poll_fn(|cx| socket.source.poll_ready(Direction::Write, cx))).unwrap();
}

#[cfg(not(aqueduct_portable_poller))]
#[test]
fn what_an_undriven_reactor_knows_is_not_relied_on() {
    let local = new_reactor();
    let (socket, mut peer) = Socket::new(local);
    peer.write_all(b"x").unwrap();
    let read = || socket.source.try_io(Direction::Read, || (&socket.stream).read(&mut [0; 8]));
    assert_eq!(read().unwrap_err().kind(), io::ErrorKind::WouldBlock, "it was never polled since");
    local.set_mode(Mode::Local);
    assert_eq!(read().unwrap(), 1);
}

#[test]
fn closing_a_reactor_sends_its_waiters_elsewhere() {
    let reactor = new_reactor();
    let (socket, mut peer) = Socket::new(reactor);
    let (waker, count) = new_count_waker();
    assert!(socket.poll_read(&mut Context::from_waker(&waker), &mut [0; 8]).is_pending());
    let mut wakes = VecDeque::new();
    reactor.close(&mut wakes);
    assert_eq!(reactor.mode(), Mode::Closed);
    wakes.into_iter().for_each(Waker::wake);
    assert_eq!(count.get(), 1);
    peer.write_all(b"x").unwrap();
    assert_eq!(block_on(poll_fn(|cx| socket.poll_read(cx, &mut [0; 8]))).unwrap(), 1);
}

#[test]
fn a_reactor_stays_of_use_after_it_was_closed() {
    let reactor = new_reactor();
    let (socket, mut peer) = Socket::new(reactor);
    reactor.close(&mut VecDeque::new());
    reactor.set_mode(Mode::Shared);
    peer.write_all(b"x").unwrap();
    assert_eq!(drive(reactor, |cx| socket.poll_read(cx, &mut [0; 8])).unwrap(), 1);
}
