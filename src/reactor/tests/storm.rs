//! Streams through a reactor that an owner and a rescuer poll at the same time: every byte and every end arrives.

use std::future::poll_fn;
use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;
use crate::block_on;
use crate::random::Rng;

/// Polls `reactor` from two threads while `body` runs.
fn with_owner_and_rescuer(reactor: &'static Reactor, body: impl FnOnce()) {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                turn(reactor);
            }
        });
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                look(reactor);
                thread::yield_now();
            }
        });
        body();
        ended.store(true, Ordering::Relaxed);
        reactor.notify();
    });
}

fn write_in_pieces(mut peer: UnixStream, pieces: u32) -> usize {
    let rng = Rng::new();
    let mut written = 0;
    for _ in 0..pieces {
        let piece = vec![7; 1 + rng.below(3000) as usize];
        peer.write_all(&piece).unwrap();
        written += piece.len();
        if rng.below(3) == 0 {
            thread::yield_now();
        }
    }
    written
}

/// Reads to the end, with buffers that are now longer and now shorter than what is there.
fn read_to_end(socket: &Socket) -> usize {
    let rng = Rng::new();
    let mut total = 0;
    loop {
        let mut buffer = vec![0; 1 + rng.below(4000) as usize];
        match block_on(poll_fn(|cx| socket.poll_read(cx, &mut buffer))).unwrap() {
            0 => return total,
            read => total += read,
        }
    }
}

#[test]
fn every_byte_and_every_end_arrives() {
    let reactor = new_reactor();
    with_owner_and_rescuer(reactor, || {
        for round in 0..60 {
            let (socket, peer) = Socket::new(reactor);
            thread::scope(|scope| {
                let writer = scope.spawn(move || write_in_pieces(peer, round));
                assert_eq!(read_to_end(&socket), writer.join().unwrap());
            });
        }
    });
}

#[test]
fn two_readers_share_a_stream() {
    let reactor = new_reactor();
    with_owner_and_rescuer(reactor, || {
        for _ in 0..20 {
            let (socket, peer) = Socket::new(reactor);
            thread::scope(|scope| {
                let writer = scope.spawn(move || write_in_pieces(peer, 50));
                let readers = [(); 2].map(|()| scope.spawn(|| read_to_end(&socket)));
                let read: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
                assert_eq!(read, writer.join().unwrap());
            });
        }
    });
}

#[test]
fn a_close_is_seen_whenever_it_comes() {
    let reactor = new_reactor();
    with_owner_and_rescuer(reactor, || {
        for _ in 0..200 {
            let (socket, _peer) = Socket::new(reactor);
            thread::scope(|scope| {
                let reader = scope.spawn(|| block_on(poll_fn(|cx| socket.poll_read(cx, &mut [0; 8]))));
                socket.source.close();
                assert_eq!(reader.join().unwrap().unwrap_err().kind(), io::ErrorKind::NotConnected);
            });
        }
    });
}
