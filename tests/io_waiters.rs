//! Who waits for a descriptor is woken, whatever others do with it meanwhile: other runtimes, runtimes that end, wakers that
//! panic, futures that are given up.

mod common;

use aqueduct::io::Io;
use aqueduct::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use aqueduct::{LocalRuntime, Runtime};
use common::{Drops, Latch, lock, soon, until, watchdog};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use futures_test::task::new_count_waker;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, RawWaker, RawWakerVTable, Wake, Waker};
use std::thread;
use std::time::Duration;

#[test]
fn a_waiter_of_one_local_runtime_survives_the_visit_of_another() {
    let _dog = watchdog!(20);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let ours = TcpStream::from_std(listener.accept().unwrap().0).unwrap();
    let other = ours.try_clone().unwrap();
    let waits = Latch::new();
    let begun = waits.clone();
    let reader = thread::spawn(move || {
        LocalRuntime::new().unwrap().block_on(async move {
            let mut buffer = [0; 4];
            let mut input = &ours;
            let mut read = input.read_exact(&mut buffer);
            poll_fn(|cx| {
                let poll = Pin::new(&mut read).poll(cx);
                begun.open();
                poll
            })
            .await
            .unwrap();
            buffer
        })
    });
    waits.block_thread();
    // Visits the socket, and is not driven any more.
    let visitor = LocalRuntime::new().unwrap();
    visitor.block_on(async {
        other.writable().await.unwrap();
        let mut buffer = [0; 4];
        let mut input = &other;
        let read = input.read(&mut buffer);
        assert!(aqueduct::time::timeout(Duration::from_millis(1), read).await.is_err());
    });
    peer.write_all(b"ping").unwrap();
    assert_eq!(&reader.join().unwrap(), b"ping");
    drop(visitor);
}

#[test]
fn receives_that_are_given_up_leave_no_waker_behind() {
    let _dog = watchdog!(20);
    struct Counted(#[allow(dead_code, reason = "dropped with the waker")] common::Counted);
    impl Wake for Counted {
        fn wake(self: Arc<Self>) {}
    }
    let drops = Drops::default();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for _ in 0..100 {
        let waker = Waker::from(Arc::new(Counted(drops.one())));
        let mut cx = Context::from_waker(&waker);
        let mut buffer = [0; 8];
        assert!(pin!(socket.recv_from_async(&mut buffer)).poll(&mut cx).is_pending());
        assert!(pin!(listener.accept_async()).poll(&mut cx).is_pending());
    }
    // One may be on its way to be called.
    until(|| drops.made() - drops.dropped() <= 2);
}

#[test]
fn closing_wakes_all_though_a_waker_panics() {
    let _dog = watchdog!(20);
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker")
        }
    }
    let (one, _other) = UnixStream::pair().unwrap();
    let poll = |waker: &Waker| {
        let mut buffer = [0; 1];
        Pin::new(&mut &one).poll_read(&mut Context::from_waker(waker), &mut buffer).is_pending()
    };
    // The event of the registration tells that it is writable, and wakes whoever waits then.
    assert!(poll(Waker::noop()));
    aqueduct::block_on(one.writable()).unwrap();
    let (good, woken) = new_count_waker();
    assert!(poll(&Waker::from(Arc::new(Panics))) && poll(&good));
    let _ = catch_unwind(AssertUnwindSafe(|| one.close()));
    assert_eq!(woken.get(), 1);
}

#[test]
fn a_flush_of_what_buffers_nothing_does_not_wait_for_room() {
    let _dog = watchdog!(20);
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let one = Io::new(one).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut writer = &one;
    while Pin::new(&mut writer).poll_write(&mut cx, &[0; 4096]).is_ready() {}
    assert!(Pin::new(&mut writer).poll_flush(&mut cx).is_ready());
}

// ---- a runtime that ends between the asking for its reactor and the waiting with it: a waker's clone comes between the two

static BETWEEN: AtomicBool = AtomicBool::new(false);
static REAL: Mutex<Option<Waker>> = Mutex::new(None);
static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);
static ALONE: Mutex<()> = Mutex::new(());

static MEDDLING: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, |_| ());

fn clone(data: *const ()) -> RawWaker {
    if BETWEEN.swap(false, SeqCst) {
        let runtime = lock(&RUNTIME).take().unwrap();
        // Its workers close their pollers when they end.
        let ended = thread::spawn(move || {
            drop(runtime.shutdown(soon()));
            until(|| common::proc::threads_named("meddled").is_empty());
        });
        ended.join().unwrap();
    }
    RawWaker::new(data, &MEDDLING)
}

fn wake(_: *const ()) {
    if let Some(waker) = &*lock(&REAL) {
        waker.wake_by_ref();
    }
}

/// Waits, on a thread that is in `block_on` of a runtime which ends when the future asks for its waker.
fn wait_while_it_ends<F: Future>(make: impl FnOnce() -> F + Send + 'static, meanwhile: impl FnOnce()) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let runtime = Runtime::builder().workers(1).thread_name("meddled").build().unwrap();
    let handle = *runtime.handle();
    *lock(&RUNTIME) = Some(runtime);
    let (tell, told) = mpsc::channel();
    let waiter = thread::spawn(move || {
        BETWEEN.store(true, SeqCst);
        let mut future = Box::pin(make());
        handle.block_on(poll_fn(move |cx| {
            *lock(&REAL) = Some(cx.waker().clone());
            // SAFETY: the functions of the table do not use the pointer.
            let waker = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &MEDDLING)) };
            let poll = future.as_mut().poll(&mut Context::from_waker(&waker)).map(drop);
            let _ = tell.send(());
            poll
        }));
    });
    told.recv().unwrap();
    assert!(!BETWEEN.load(SeqCst), "the waker was not asked for");
    meanwhile();
    waiter.join().unwrap();
}

#[test]
fn a_socket_does_not_wait_with_a_reactor_that_is_closed() {
    let _dog = watchdog!(30);
    let (one, mut other) = UnixStream::pair().unwrap();
    let read = move || {
        poll_fn(move |cx| {
            let mut buffer = [0; 1];
            Pin::new(&mut &one).poll_read(cx, &mut buffer).map(drop)
        })
    };
    wait_while_it_ends(read, || other.write_all(b"x").unwrap());
}

#[test]
fn a_timer_does_not_wait_with_a_reactor_that_is_closed() {
    let _dog = watchdog!(30);
    wait_while_it_ends(|| aqueduct::time::Timer::after(Duration::from_millis(200)), || ());
}
