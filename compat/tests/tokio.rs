//! tokio's context under futures and coroutines of ours, its io traits on our sockets and ours on its, and our channels and join
//! handles in programs of tokio's.

mod common;

use aqueduct::channel;
use aqueduct::{LocalRuntime, Wait, go};
use aqueduct_compat::tokio::{InTokio, InTokioExt, enter, handle};
use common::{Latch, runtime, watchdog};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::sleep;

const MOMENT: Duration = Duration::from_millis(1);

/// Whether tokio's context is there, on this thread now.
fn inside() -> bool {
    Handle::try_current().is_ok()
}

#[test]
fn timers_run_in_both_colours() {
    let _dog = watchdog!(30);
    let runtime = runtime(2);
    let coroutine = runtime.go(|| async { sleep(MOMENT).await }.in_tokio().wait());
    let future = runtime.spawn(async { sleep(MOMENT).await }.in_tokio());
    coroutine.join().unwrap();
    future.join().unwrap();
    // On a plain thread as well.
    async { sleep(MOMENT).await }.in_tokio().wait();
    assert!(!inside());
}

#[test]
fn sockets_of_tokio_run_in_both_colours() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let _dog = watchdog!(30);
    let runtime = runtime(2);
    let listener = enter(|| tokio::net::TcpListener::bind("127.0.0.1:0").wait().unwrap());
    let address = listener.local_addr().unwrap();
    let server = runtime.spawn(
        async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut word = [0; 4];
            stream.read_exact(&mut word).await.unwrap();
            stream.write_all(&word).await.unwrap();
        }
        .in_tokio(),
    );
    let client = runtime.go(move || {
        enter(|| {
            let mut stream = tokio::net::TcpStream::connect(address).wait().unwrap();
            stream.write_all(b"over").wait().unwrap();
            let mut word = [0; 4];
            stream.read_exact(&mut word).wait().unwrap();
            word
        })
    });
    assert_eq!(&client.join().unwrap(), b"over");
    server.join().unwrap();
}

#[test]
fn what_is_spawned_inside_runs_on_the_background_thread() {
    let _dog = watchdog!(30);
    let runtime = runtime(1);
    let name = async {
        tokio::spawn(async {
            sleep(MOMENT).await;
            std::thread::current().name().map(str::to_owned)
        })
        .await
        .unwrap()
    };
    let name = runtime.spawn(name.in_tokio()).join().unwrap();
    assert_eq!(name.as_deref(), Some("aqueduct-tokio"));
    let blocking = async { tokio::task::spawn_blocking(|| 7).await.unwrap() };
    assert_eq!(runtime.go(|| blocking.in_tokio().wait()).join().unwrap(), 7);
}

/// A future that waits in Go style within its poll, `rounds` times, and looks for the context after each wait.
async fn waits_within_its_poll(rounds: usize, mut wait: impl FnMut() + Send) {
    for _ in 0..rounds {
        assert!(inside(), "entered for the poll");
        wait();
        assert!(inside(), "entered again after a wait");
        let before = Handle::current().id();
        async { sleep(Duration::ZERO).await }.in_tokio().wait();
        assert_eq!(before, Handle::current().id());
    }
}

#[test]
fn waits_inside_wrapped_polls_interleave_on_one_worker() {
    let _dog = watchdog!(60);
    const ROUNDS: usize = 200;
    let runtime = runtime(1);
    // Each hands the other its turn, so that their stays begin and end in every order but that of a stack.
    let (to_b, from_a) = channel::bounded(0);
    let (to_a, from_b) = channel::bounded(0);
    let a = move || {
        to_b.send(()).unwrap();
        from_b.recv().unwrap();
    };
    let b = move || {
        from_a.recv().unwrap();
        to_a.send(()).unwrap();
    };
    let coroutine = runtime.go(move || waits_within_its_poll(ROUNDS, a).in_tokio().wait());
    let future = runtime.spawn(waits_within_its_poll(ROUNDS, b).in_tokio());
    // A neighbour on the same worker never sees their context.
    let neighbour = runtime.go(|| {
        for _ in 0..ROUNDS {
            assert!(!inside());
            aqueduct::yield_now();
        }
    });
    coroutine.join().unwrap();
    future.join().unwrap();
    neighbour.join().unwrap();
    assert!(!runtime.go(inside).join().unwrap());
}

/// The same interleaving with guards of tokio's own, to show what the wrapper is for.
#[test]
fn guards_of_tokios_own_held_across_waits_panic() {
    let _dog = watchdog!(30);
    let runtime = runtime(1);
    let (a_in, b_in, a_out) = (Latch::new(), Latch::new(), Latch::new());
    let a = runtime.go({
        let (a_in, b_in, a_out) = (a_in.clone(), b_in.clone(), a_out.clone());
        move || {
            let guard = handle().enter();
            a_in.open();
            b_in.opened().wait();
            // The one below in tokio's stack ends first.
            let ended = catch_unwind(AssertUnwindSafe(|| drop(guard)));
            a_out.open();
            ended.is_err()
        }
    });
    let b = runtime.go(move || {
        a_in.opened().wait();
        let guard = handle().enter();
        b_in.open();
        a_out.opened().wait();
        drop(guard);
    });
    assert!(a.join().unwrap(), "tokio does not mind: the hook is not needed any more");
    b.join().unwrap();
}

#[test]
fn stays_nest_and_a_nested_runtime_keeps_them_apart() {
    let _dog = watchdog!(30);
    let runtime = runtime(1);
    let nested = runtime.go(|| {
        enter(|| {
            enter(|| aqueduct::yield_now());
            assert!(inside());
            let local = LocalRuntime::new().unwrap();
            let (tx, rx) = channel::bounded(0);
            // Begins its stay under that of the outer frame, waits within it, and is resumed when that frame has gone on.
            let begun = Latch::new();
            let begins = begun.clone();
            let inner = local.spawn(
                async move {
                    begins.open();
                    rx.recv().unwrap();
                    assert!(inside());
                }
                .in_tokio(),
            );
            local.block_on(begun.opened());
            (local, inner, tx)
        })
        .wait_outside()
    });
    nested.join().unwrap();
}

trait WaitOutside {
    fn wait_outside(self);
}

impl WaitOutside for (LocalRuntime, aqueduct::JoinHandle<()>, channel::Sender<()>) {
    fn wait_outside(self) {
        let (local, inner, tx) = self;
        assert!(!inside());
        let sender = go!(tx.send(()).unwrap());
        local.block_on(inner).unwrap();
        sender.join().unwrap();
        assert!(!inside());
    }
}

#[test]
fn a_future_is_dropped_in_the_context() {
    struct Looks(std::sync::mpsc::Sender<bool>);
    impl Drop for Looks {
        fn drop(&mut self) {
            aqueduct::yield_now(); // A destructor may wait, also there.
            self.0.send(inside()).unwrap();
        }
    }
    let _dog = watchdog!(30);
    let runtime = runtime(1);
    let (tx, rx) = std::sync::mpsc::channel();
    let wrap = |looks: Looks| {
        async move {
            let _looks = looks;
            std::future::pending::<()>().await;
        }
        .in_tokio()
    };
    drop(wrap(Looks(tx.clone())));
    let cancelled = runtime.spawn(wrap(Looks(tx.clone())));
    common::until_waiting(&runtime, cancelled.id());
    cancelled.cancel();
    assert!(cancelled.join().unwrap_err().is_cancelled());
    // Unwinding past it, in Go style.
    let unwound = runtime.go(move || wrap(Looks(tx)).wait());
    common::until_waiting(&runtime, unwound.id());
    unwound.cancel();
    assert!(unwound.join().unwrap_err().is_cancelled());
    assert_eq!(rx.iter().collect::<Vec<_>>(), [true, true, true]);
}

#[test]
fn a_cancelled_or_panicking_stay_leaves_the_worker_as_it_was() {
    let _dog = watchdog!(30);
    let runtime = runtime(1);
    let cancelled = runtime.spawn(async { std::future::pending::<()>().wait() }.in_tokio());
    common::until_waiting(&runtime, cancelled.id());
    assert!(!runtime.go(inside).join().unwrap());
    cancelled.cancel();
    assert!(cancelled.join().unwrap_err().is_cancelled());
    assert!(!runtime.go(inside).join().unwrap());

    let panicked = runtime.go(|| {
        enter(|| {
            aqueduct::yield_now();
            std::panic::resume_unwind(Box::new("thrown"));
        })
    });
    assert!(panicked.join().unwrap_err().is_panic());
    assert!(!runtime.go(inside).join().unwrap());
    // tokio's count of stays is back at none: its guards still nest.
    runtime.go(|| drop(handle().enter())).join().unwrap();
}

#[test]
fn a_stream_is_polled_in_the_context() {
    use futures::StreamExt;
    let _dog = watchdog!(30);
    let ticks = futures::stream::unfold(0, |n| async move {
        sleep(MOMENT).await;
        (n < 3).then_some((n, n + 1))
    });
    assert_eq!(InTokio::new(ticks).collect::<Vec<_>>().wait(), [0, 1, 2]);
}

#[test]
fn the_error_without_the_context_names_the_remedy() {
    let _dog = watchdog!(30);
    let runtime = runtime(1);
    let lost = [
        runtime.spawn(async { sleep(MOMENT).await }),
        runtime.spawn(async { drop(tokio::net::TcpStream::connect("127.0.0.1:1").await) }),
        runtime.spawn(async { drop(tokio::spawn(async {})) }),
        runtime.go(|| async { sleep(MOMENT).await }.wait()),
    ];
    for task in lost {
        let error = task.join().unwrap_err().to_string();
        assert!(error.contains("aqueduct-compat"), "{error}");
        assert!(error.contains("`tokio`") && error.contains(".in_tokio()"), "{error}");
    }
}

mod io {
    use super::{common, watchdog};
    use aqueduct::Wait;
    use aqueduct::net::{TcpListener, TcpStream};
    use aqueduct_compat::tokio::{FuturesAsyncReadCompatExt, InTokioExt, TokioAsyncReadCompatExt, enter};

    /// More than the buffers of a connection hold, so that both ways meet a full and an empty one.
    const LENGTH: usize = 8 << 20;

    fn pattern() -> Vec<u8> {
        (0..LENGTH).map(|i| (i / 7) as u8).collect()
    }

    #[test]
    fn our_sockets_carry_tokios_traits() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
        let _dog = watchdog!(60);
        let runtime = common::runtime(2);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let echo = runtime.spawn(async move {
            let (stream, _) = listener.accept_async().await.unwrap();
            let (mut reader, mut writer) = split(stream.compat());
            let copied = copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
            copied
        });
        let (mut reader, mut writer) = split(TcpStream::connect(address).unwrap().compat());
        let sender = runtime.spawn(async move {
            writer.write_all(&pattern()).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let mut back = Vec::new();
        reader.read_to_end(&mut back).wait().unwrap();
        assert!(back == pattern());
        sender.join().unwrap();
        assert_eq!(echo.join().unwrap(), LENGTH as u64);
    }

    #[test]
    fn sockets_of_tokio_carry_ours() {
        use futures::io::{AsyncReadExt, AsyncWriteExt};
        let _dog = watchdog!(60);
        let runtime = common::runtime(2);
        let listener = enter(|| tokio::net::TcpListener::bind("127.0.0.1:0").wait().unwrap());
        let address = listener.local_addr().unwrap();
        let echo = runtime.spawn(
            async move {
                let (stream, _) = listener.accept().await.unwrap();
                let (reader, mut writer) = stream.compat().split();
                let copied = futures::io::copy(reader, &mut writer).await.unwrap();
                writer.close().await.unwrap();
                copied
            }
            .in_tokio(),
        );
        let stream = TcpStream::connect(address).unwrap();
        let (mut reader, mut writer) = stream.split();
        let sender = runtime.spawn(async move {
            writer.write_all(&pattern()).await.unwrap();
            writer.close().await.unwrap();
        });
        let mut back = Vec::new();
        reader.read_to_end(&mut back).wait().unwrap();
        assert!(back == pattern());
        sender.join().unwrap();
        assert_eq!(echo.join().unwrap(), LENGTH as u64);
    }
}

/// The other direction: a program on tokio uses aqueduct.
mod from_tokio {
    use super::watchdog;
    use super::{MOMENT, common};
    use aqueduct::{channel, go};
    use tokio::runtime::{Builder, Runtime};

    fn runtimes() -> [Runtime; 2] {
        let many = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let one = Builder::new_current_thread().enable_all().build().unwrap();
        [many, one]
    }

    #[test]
    fn channels_carry_messages_between_tasks_of_both() {
        const MESSAGES: u64 = 1_000;
        let _dog = watchdog!(60);
        for tokio in runtimes() {
            for capacity in [0, 1, 64] {
                let (to_us, from_tokio) = channel::bounded(capacity);
                let (to_tokio, from_us) = channel::bounded(capacity);
                let doubler = go!(for n in from_tokio.iter() {
                    to_tokio.send(2 * n).unwrap();
                });
                let sum = tokio.block_on(async move {
                    let sender = tokio::spawn(async move {
                        for n in 0..MESSAGES {
                            to_us.send_async(n).await.unwrap();
                        }
                    });
                    let mut sum = 0;
                    while let Ok(n) = from_us.recv_async().await {
                        sum += n;
                    }
                    sender.await.unwrap();
                    sum
                });
                assert_eq!(sum, MESSAGES * (MESSAGES - 1));
                doubler.join().unwrap();
            }
        }
    }

    #[test]
    fn join_handles_are_awaited_and_report() {
        let _dog = watchdog!(30);
        for tokio in runtimes() {
            tokio.block_on(async {
                let coroutine = go!({
                    aqueduct::time::sleep(MOMENT);
                    6 * 7
                });
                assert_eq!(coroutine.await.unwrap(), 42);
                let future = aqueduct::spawn(async { aqueduct::time::Timer::after(MOMENT).await });
                future.await.unwrap();
                let panicked = go!(std::panic::resume_unwind(Box::new("thrown")));
                let panicked: Result<(), _> = panicked.await;
                assert!(panicked.unwrap_err().is_panic());
                let stuck = go!(aqueduct::time::sleep(std::time::Duration::MAX));
                stuck.cancel();
                assert!(stuck.await.unwrap_err().is_cancelled());
            });
        }
    }

    #[test]
    fn a_select_of_tokios_loses_no_message() {
        const MESSAGES: usize = 500;
        let _dog = watchdog!(60);
        for tokio in runtimes() {
            let (tx, rx) = channel::bounded(1);
            let sender = go!(for n in 0..MESSAGES {
                tx.send(n).unwrap();
            });
            let received = tokio.block_on(async move {
                let mut received = Vec::new();
                loop {
                    tokio::select! {
                        message = rx.recv_async() => match message {
                            Ok(n) => received.push(n),
                            Err(_) => break received,
                        },
                        () = tokio::task::yield_now() => {}
                    }
                }
            });
            assert_eq!(received, (0..MESSAGES).collect::<Vec<_>>());
            sender.join().unwrap();
        }
    }

    #[test]
    fn go_style_calls_may_be_made_on_its_blocking_threads() {
        let _dog = watchdog!(30);
        for tokio in runtimes() {
            let (tx, rx) = channel::bounded(0);
            let received = tokio.block_on(async move {
                let receiver = tokio::task::spawn_blocking(move || rx.recv().unwrap());
                tx.send_async(7).await.unwrap();
                receiver.await.unwrap()
            });
            assert_eq!(received, 7);
        }
    }

    #[test]
    fn its_own_context_is_kept() {
        use aqueduct_compat::tokio::InTokioExt;
        let _dog = watchdog!(30);
        for tokio in runtimes() {
            let own = tokio.handle().id();
            let seen = tokio.block_on(async { tokio::runtime::Handle::current().id() }.in_tokio());
            assert_eq!(seen, own);
        }
        let _ = common::runtime;
    }
}
