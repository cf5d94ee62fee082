//! A local runtime inside somebody else's loop: a bare poll(2) loop, a loop of the `polling` crate with sources of its own, a
//! foreign executor. Timers, sockets and wakes from other threads arrive, and nobody spins.

mod common;

use aqueduct::net::{TcpListener, TcpStream};
use aqueduct::runtime::PanicPolicy;
use aqueduct::{LocalRuntime, channel, go, spawn_local, time, yield_now};
use common::{Latch, Rng, until, watchdog};
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Waits as the documentation says one may. Returns whether the descriptor was readable.
fn poll(runtime: &LocalRuntime) -> bool {
    let timeout = runtime.next_deadline().map_or(-1, |deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        i32::try_from(left.as_micros().div_ceil(1000)).expect("no test waits for weeks")
    });
    let mut entry = libc::pollfd { fd: runtime.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one live entry.
    let ready = unsafe { libc::poll(&raw mut entry, 1, timeout) };
    assert!(ready >= 0, "{}", std::io::Error::last_os_error());
    ready > 0
}

/// The whole of a loop. Returns how often it waited.
fn drive(runtime: &LocalRuntime, done: impl Fn() -> bool) -> usize {
    let mut waits = 0;
    loop {
        while runtime.turn() {}
        if done() {
            return waits;
        }
        poll(runtime);
        waits += 1;
    }
}

#[test]
fn timers_end_the_wait_and_are_not_early() {
    let _dog = watchdog!(20);
    let runtime = LocalRuntime::new().unwrap();
    assert_eq!(runtime.next_deadline(), None);
    let begin = Instant::now();
    let order = Rc::new(RefCell::new(Vec::new()));
    for millis in [9, 3, 6] {
        let order = order.clone();
        runtime.go(move || {
            time::sleep(Duration::from_millis(millis));
            order.borrow_mut().push((millis, begin.elapsed()));
        });
    }
    let waits = drive(&runtime, || runtime.is_empty());
    let order = order.take();
    assert_eq!(order.iter().map(|(millis, _)| *millis).collect::<Vec<_>>(), [3, 6, 9]);
    assert!(order.iter().all(|(millis, after)| *after >= Duration::from_millis(*millis)));
    assert!(waits < 20, "{waits} waits for three timers: it spins");
}

#[test]
fn what_is_ready_makes_the_deadline_pass_at_once() {
    let _dog = watchdog!(20);
    let runtime = LocalRuntime::new().unwrap();
    let task = runtime.spawn(async { 7 });
    assert!(runtime.next_deadline().unwrap() <= Instant::now());
    while runtime.turn() {}
    assert!(task.is_finished() && runtime.is_empty());
    assert_eq!(runtime.next_deadline(), None);
    assert!(!runtime.turn());
}

#[test]
fn sockets_between_two_coroutines_of_the_loop() {
    let _dog = watchdog!(20);
    let runtime = LocalRuntime::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = runtime.go(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    let client = runtime.go(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        for part in ["all ", "through ", "one loop"] {
            stream.write_all(part.as_bytes()).unwrap();
            time::sleep(Duration::from_millis(1));
        }
    });
    let waits = drive(&runtime, || server.is_finished() && client.is_finished());
    assert_eq!(server.join().unwrap(), "all through one loop");
    client.join().unwrap();
    assert!(waits < 100, "{waits} waits: it spins");
}

#[test]
fn wakes_and_spawns_from_other_threads_make_the_descriptor_readable() {
    let _dog = watchdog!(30);
    let runtime = LocalRuntime::new().unwrap();
    let (tx, rx) = channel::bounded(0);
    let sum = runtime.spawn(async move {
        let mut sum = 0;
        while let Ok(value) = rx.recv_async().await {
            sum += value;
        }
        sum
    });
    let handle = runtime.handle();
    let thread = std::thread::spawn(move || {
        for value in 1..=500 {
            tx.send(value).unwrap();
        }
        // Onto a runtime that is waiting by now, or soon.
        handle.go(|| yield_now()).join().unwrap();
    });
    let waits = drive(&runtime, || sum.is_finished() && runtime.is_empty());
    assert_eq!(sum.join().unwrap(), 500 * 501 / 2);
    // The thread is told by the task's end.
    thread.join().unwrap();
    assert!(waits <= 3 * 502, "{waits} waits for 500 messages: it spins");
}

#[test]
fn a_wake_before_the_first_turn_and_one_after_a_block_on_are_not_lost() {
    let _dog = watchdog!(20);
    let runtime = LocalRuntime::new().unwrap();
    let handle = runtime.handle();
    let task = std::thread::spawn(move || handle.spawn(async { 7 })).join().unwrap();
    assert!(poll(&runtime), "spawned from elsewhere before anybody drove");
    while runtime.turn() {}
    assert_eq!(task.join().unwrap(), 7);
    runtime.block_on(async {});
    let handle = runtime.handle();
    let task = std::thread::spawn(move || handle.spawn(async { 8 })).join().unwrap();
    assert!(poll(&runtime), "spawned from elsewhere after a block_on");
    while runtime.turn() {}
    assert_eq!(task.join().unwrap(), 8);
}

/// The race of a wake against the end of a turn, many times over.
#[test]
fn no_wake_is_lost_against_the_end_of_a_turn() {
    let _dog = watchdog!(60);
    let mut rng = Rng::new("runtime_embed::no_wake_is_lost");
    let runtime = LocalRuntime::new().unwrap();
    let (tx, rx) = mpsc::channel::<(Latch, u64)>();
    let opener = std::thread::spawn(move || {
        for (latch, spins) in rx {
            for _ in 0..spins {
                std::hint::spin_loop();
            }
            latch.open();
        }
    });
    for _ in 0..2_000 {
        let latch = Latch::new();
        let task = runtime.spawn(latch.opened());
        tx.send((latch, rng.below(3_000))).unwrap();
        // A lost wake is a wait for ever here.
        drive(&runtime, || task.is_finished());
    }
    drop(tx);
    opener.join().unwrap();
}

#[test]
fn a_turn_is_bounded_and_says_that_there_is_more() {
    let _dog = watchdog!(20);
    let runtime = LocalRuntime::new().unwrap();
    let stop = Rc::new(Cell::new(false));
    let turns = Rc::new(Cell::new(0_u64));
    let task = runtime.go({
        let (stop, turns) = (stop.clone(), turns.clone());
        move || {
            while !stop.get() {
                turns.set(turns.get() + 1);
                yield_now();
            }
        }
    });
    for round in 1..=5 {
        let before = turns.get();
        assert!(runtime.turn(), "round {round}: it yields for ever, so there is more");
        assert!(turns.get() > before);
        assert!(runtime.next_deadline().unwrap() <= Instant::now());
    }
    stop.set(true);
    while runtime.turn() {}
    assert!(task.is_finished());
}

#[test]
fn a_turn_inside_its_own_task_does_nothing() {
    let _dog = watchdog!(20);
    let runtime = Rc::new(LocalRuntime::new().unwrap());
    let inner = runtime.clone();
    let task = runtime.spawn(async move { inner.turn() });
    while runtime.turn() {}
    assert!(!task.join().unwrap());
}

#[test]
fn turns_and_block_on_take_turns() {
    let _dog = watchdog!(20);
    let runtime = LocalRuntime::new().unwrap();
    let (tx, rx) = channel::unbounded();
    runtime.go(move || {
        for i in 0.. {
            if tx.send(i).is_err() {
                break;
            }
            time::sleep(Duration::from_micros(200));
        }
    });
    assert_eq!(runtime.block_on(rx.recv_async()), Ok(0));
    drive(&runtime, || !rx.is_empty());
    assert_eq!(rx.try_recv(), Ok(1));
    assert_eq!(runtime.block_on(rx.recv_async()), Ok(2));
    drop(rx);
    drive(&runtime, || runtime.is_empty());
}

#[test]
fn a_panic_in_a_task_does_not_unwind_out_of_a_turn() {
    let _dog = watchdog!(20);
    let runtime = LocalRuntime::builder().panic_policy(PanicPolicy::Ignore).build_local().unwrap();
    let task = runtime.go(|| panic!("in a turn"));
    runtime.go(|| panic!("detached"));
    while runtime.turn() {}
    assert!(task.join().unwrap_err().is_panic());
}

/// A loop of the `polling` crate that also waits for a socket of its own.
#[test]
fn inside_a_loop_of_the_polling_crate() {
    const RUNTIME: usize = 1;
    const OWN: usize = 2;
    let _dog = watchdog!(20);
    let runtime = LocalRuntime::new().unwrap();
    let poller = polling::Poller::new().unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    // SAFETY: both are deleted below, before they are closed.
    unsafe {
        poller.add(&runtime.as_fd(), polling::Event::readable(RUNTIME)).unwrap();
        poller.add(&ours, polling::Event::readable(OWN)).unwrap();
    }
    // A coroutine of the runtime answers with a delay what the loop has read from its own socket.
    let (tx, rx) = channel::unbounded::<u8>();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let consumer = runtime.go({
        let seen = seen.clone();
        move || {
            for byte in rx.iter() {
                time::sleep(Duration::from_millis(1));
                seen.borrow_mut().push(byte);
            }
        }
    });
    let writer = std::thread::spawn(move || {
        let mut theirs = theirs;
        for byte in 0..20_u8 {
            theirs.write_all(&[byte]).unwrap();
            std::thread::yield_now();
        }
    });
    let mut tx = Some(tx);
    let mut events = polling::Events::new();
    while !consumer.is_finished() {
        while runtime.turn() {}
        if consumer.is_finished() {
            break;
        }
        let timeout = runtime.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
        events.clear();
        poller.wait(&mut events, timeout).unwrap();
        for event in events.iter() {
            match event.key {
                RUNTIME => poller.modify(runtime.as_fd(), polling::Event::readable(RUNTIME)).unwrap(),
                OWN => {
                    let mut bytes = [0; 8];
                    match ours.read(&mut bytes) {
                        Ok(0) => tx = None,
                        Ok(n) => bytes[..n].iter().for_each(|byte| tx.as_ref().unwrap().send(*byte).unwrap()),
                        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
                    }
                    poller.modify(&ours, polling::Event::readable(OWN)).unwrap();
                }
                other => panic!("event {other}"),
            }
        }
    }
    poller.delete(runtime.as_fd()).unwrap();
    poller.delete(&ours).unwrap();
    writer.join().unwrap();
    assert_eq!(*seen.borrow(), (0..20).collect::<Vec<u8>>());
}

/// Two runtimes in one loop talk to each other.
#[test]
fn two_runtimes_in_one_loop() {
    let _dog = watchdog!(20);
    let (one, other) = (LocalRuntime::new().unwrap(), LocalRuntime::new().unwrap());
    let (there, back) = (channel::bounded(0), channel::bounded(0));
    let echo = one.go({
        let (rx, tx) = (there.1, back.0);
        move || rx.iter().try_for_each(|value: u32| tx.send(value + 1)).unwrap()
    });
    let asker = other.go({
        let (tx, rx) = (there.0, back.1);
        move || {
            (0..100).fold(0, |value, _| {
                tx.send(value).unwrap();
                rx.recv().unwrap()
            })
        }
    });
    while !(echo.is_finished() && asker.is_finished()) {
        while one.turn() | other.turn() {}
        if echo.is_finished() && asker.is_finished() {
            break;
        }
        let mut entries = [&one, &other].map(|runtime| libc::pollfd {
            fd: runtime.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        });
        // SAFETY: two live entries.
        unsafe { libc::poll(entries.as_mut_ptr(), 2, -1) };
    }
    assert_eq!(asker.join().unwrap(), 100);
}

/// A turn on a coroutine of another runtime: the loop around it is one that waits.
#[test]
fn turns_on_a_coroutine_of_another_runtime() {
    let dog = watchdog!(20);
    let runtime = common::runtime(1);
    dog.watch(&runtime);
    let driver = runtime.go(|| {
        let local = LocalRuntime::new().unwrap();
        let task = local.go(|| {
            time::sleep(Duration::from_millis(2));
            let shared = Rc::new(7);
            spawn_local(async move { *shared }).join().unwrap()
        });
        while !task.is_finished() {
            local.turn();
            time::sleep(Duration::from_micros(300));
        }
        task.join().unwrap()
    });
    let beside = runtime.go(|| (0..50).map(|_| go!(1).join().unwrap()).sum::<i32>());
    assert_eq!(beside.join().unwrap(), 50);
    assert_eq!(driver.join().unwrap(), 7);
}

#[test]
fn a_runtime_that_is_dropped_between_two_turns_ends_its_tasks() {
    let _dog = watchdog!(20);
    let drops = common::Drops::new();
    let runtime = LocalRuntime::new().unwrap();
    let (one, other) = (drops.one(), drops.one());
    runtime.go(move || {
        let _counted = one;
        time::sleep(Duration::from_secs(3600));
    });
    runtime.spawn(async move {
        let _counted = other;
        std::future::pending::<()>().await;
    });
    while runtime.turn() {}
    assert_eq!(drops.dropped(), 0);
    drop(runtime);
    assert_eq!(drops.dropped(), 2);
}

/// While there is nothing, the loop is in its wait: it does not come round.
#[test]
fn an_idle_loop_costs_nothing() {
    let _dog = watchdog!(20);
    let runtime = LocalRuntime::new().unwrap();
    let latch = Latch::new();
    let task = runtime.spawn(latch.opened());
    let (tell, told) = mpsc::channel();
    let waits = std::thread::scope(|scope| {
        scope.spawn(move || {
            told.recv().unwrap();
            latch.block_thread_until_waited_for();
            // The loop is in its poll(2), or about to be; it is woken once.
            std::thread::sleep(Duration::from_millis(20));
            latch.open();
        });
        tell.send(()).unwrap();
        drive(&runtime, || task.is_finished())
    });
    assert!(waits <= 3, "{waits} waits for one wake");
    until(|| runtime.is_empty());
}
