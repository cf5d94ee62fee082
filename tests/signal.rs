//! Signals as messages. Each test is a process of its own, for a signal comes to the whole process.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aqueduct::channel;
use aqueduct::prelude::*;
use aqueduct::signal::{self, SIGHUP, SIGINT, SIGKILL, SIGSTOP, SIGTERM, SIGUSR1, SIGUSR2, Signal};
use common::child::{Child, alone};
use common::party::PARTIES;

#[test]
fn every_party_is_told() {
    alone(common::test_path!(), || {
        let fence = signal::notify(&[SIGUSR1, SIGUSR2]).unwrap();
        for party in PARTIES {
            let signals = signal::notify(&[SIGUSR1, SIGUSR2]).unwrap();
            let told = party.live(move |style| async move {
                (style.recv(&signals).await.unwrap(), style.recv(&signals).await.unwrap())
            });
            for signal in [SIGUSR2, SIGUSR1] {
                signal::raise(signal).unwrap();
                // Handed out before the next: two that come together have no order.
                assert_eq!(fence.recv(), Ok(signal));
            }
            assert_eq!(told.join(), (SIGUSR2, SIGUSR1), "{party:?}");
        }
    });
}

#[test]
fn none_is_lost_when_each_is_awaited() {
    alone(common::test_path!(), || {
        let signals = signal::notify(&[SIGUSR1, SIGUSR2]).unwrap();
        for i in 0..1_000 {
            let signal = if i % 3 == 0 { SIGUSR1 } else { SIGUSR2 };
            signal::raise(signal).unwrap();
            assert_eq!(signals.recv(), Ok(signal));
        }
        assert!(signals.is_empty());
    });
}

#[test]
fn a_storm_is_merged_but_never_forgotten() {
    alone(common::test_path!(), || {
        // Those handed out when the counting has ended, or when the test has, are not to end the process.
        std::mem::forget(signal::notify(&[SIGUSR1]).unwrap());
        let signals = signal::notify(&[SIGUSR1]).unwrap();
        let raised = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let raised = raised.clone();
                std::thread::spawn(move || {
                    for _ in 0..2_000 {
                        raised.fetch_add(1, Ordering::SeqCst);
                        signal::raise(SIGUSR1).unwrap();
                    }
                })
            })
            .collect();
        let counter =
            go(move || signals.iter().take_while(|_| raised.load(Ordering::SeqCst) < 8_000).count());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        // Whatever was merged: one more comes after the last, and ends the counting.
        signal::raise(SIGUSR1).unwrap();
        assert!(counter.join().unwrap() < 8_000);
    });
}

#[test]
fn several_subscribers_each_get_it_and_a_full_one_holds_up_nobody() {
    alone(common::test_path!(), || {
        let (full_tx, full_rx) = channel::bounded(1);
        let (rendezvous_tx, rendezvous_rx) = channel::bounded(0);
        signal::notify_to(&full_tx, &[SIGUSR1]).unwrap();
        signal::notify_to(&full_tx, &[SIGUSR1, SIGUSR2]).unwrap();
        signal::notify_to(&rendezvous_tx, &[SIGUSR1]).unwrap();
        let one = signal::notify(&[SIGUSR1]).unwrap();
        let other = signal::notify(&[SIGUSR1, SIGUSR2]).unwrap();
        for _ in 0..3 {
            signal::raise(SIGUSR1).unwrap();
            assert_eq!((one.recv(), other.recv()), (Ok(SIGUSR1), Ok(SIGUSR1)));
        }
        signal::raise(SIGUSR2).unwrap();
        assert_eq!(other.recv(), Ok(SIGUSR2));
        assert_eq!(
            full_rx.try_iter().collect::<Vec<_>>(),
            [SIGUSR1],
            "one, and it is not twice a subscriber"
        );
        assert!(rendezvous_rx.try_recv().is_err());
        assert!(one.is_empty());
    });
}

#[test]
fn a_case_of_select() {
    alone(common::test_path!(), || {
        aqueduct::run(|| {
            let signals = signal::notify(&[SIGHUP]).unwrap();
            let (tx, rx) = channel::bounded::<()>(0);
            go!(signal::raise(SIGHUP).unwrap());
            select! {
                signal = <-signals => assert_eq!(signal, Ok(SIGHUP)),
                _ = <-rx => panic!("nobody sends"),
                _ = <-time::after(Duration::from_secs(20)) => panic!("no signal came"),
            }
            select! {
                _ = <-signals => panic!("there is no other"),
                default => {}
            }
            signal::raise(SIGHUP).unwrap();
            async {
                select_async! {
                    signal = <-signals => assert_eq!(signal, Ok(SIGHUP)),
                    _ = <-rx => panic!("nobody sends"),
                }
            }
            .wait();
            drop(tx);
        });
    })
}

#[test]
fn what_cannot_be_caught_is_refused() {
    let faults = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL].map(Signal::from_raw);
    for signal in [SIGKILL, SIGSTOP].into_iter().chain(faults) {
        let error = signal::notify(&[SIGUSR1, signal]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(signal.name().unwrap()), "{error}");
    }
    assert!(signal::notify(&[Signal::from_raw(1_000)]).is_err());
    assert_eq!(format!("{SIGTERM} {:?} {}", SIGUSR1, Signal::from_raw(1_000)), "SIGTERM SIGUSR1 signal 1000");
}

#[test]
fn when_the_last_subscriber_has_gone_the_default_is_back() {
    let ended = Child::new(common::test_path!()).run("", || {
        let one = signal::notify(&[SIGTERM]).unwrap();
        let other = signal::notify(&[SIGTERM]).unwrap();
        drop(one);
        signal::raise(SIGTERM).unwrap();
        assert_eq!(other.recv(), Ok(SIGTERM));
        println!("still here");
        drop(other);
        signal::raise(SIGTERM).unwrap();
        std::thread::sleep(Duration::from_secs(30));
    });
    if !common::child::is_child() {
        assert_eq!(ended.status.signal(), Some(libc::SIGTERM), "{}", ended.output);
        assert!(ended.output.contains("still here"), "{}", ended.output);
    }
}

#[test]
fn what_was_ignored_before_is_ignored_afterwards() {
    alone(common::test_path!(), || {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
        drop(signal::notify(&[SIGHUP]).unwrap());
        let fence = signal::notify(&[SIGUSR1]).unwrap();
        for _ in 0..10 {
            signal::raise(SIGHUP).unwrap();
            // Handed out after it, so it has been dealt with.
            signal::raise(SIGUSR1).unwrap();
            assert_eq!(fence.recv(), Ok(SIGUSR1));
        }
    });
}

#[test]
fn the_second_ctrl_c_ends_the_process() {
    let ended = Child::new(common::test_path!()).run("", || {
        // A shell starts what runs in its background with this signal ignored.
        // SAFETY: the default action, before anybody else has set one.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        aqueduct::run(|| {
            let pressed = signal::ctrl_c();
            signal::raise(SIGINT).unwrap();
            pressed.wait().unwrap();
            async {
                let pressed = signal::ctrl_c();
                signal::raise(SIGINT).unwrap();
                pressed.await.unwrap();
            }
            .wait();
            println!("told twice");
            signal::raise(SIGINT).unwrap();
            time::sleep(Duration::from_secs(30));
        });
    });
    if !common::child::is_child() {
        assert_eq!(ended.status.signal(), Some(libc::SIGINT), "{}", ended.output);
        assert!(ended.output.contains("told twice"), "{}", ended.output);
    }
}

#[test]
fn handlers_run_on_the_alternate_stack_and_others_are_still_called() {
    static CALLED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn theirs(_: i32) {
        CALLED.fetch_add(1, Ordering::SeqCst);
    }
    alone(common::test_path!(), || {
        // SAFETY: the handler only adds to an atomic.
        unsafe { libc::signal(libc::SIGUSR1, theirs as extern "C" fn(i32) as libc::sighandler_t) };
        let signals = signal::notify(&[SIGUSR1]).unwrap();
        // SAFETY: only reads, into a struct of ours.
        let flags = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            assert_eq!(libc::sigaction(libc::SIGUSR1, std::ptr::null(), &mut action), 0);
            action.sa_flags
        };
        assert_ne!(flags & libc::SA_ONSTACK, 0);
        // From a coroutine, whose stack is small.
        aqueduct::run(|| signal::raise(SIGUSR1).unwrap());
        assert_eq!(signals.recv(), Ok(SIGUSR1));
        common::until(|| CALLED.load(Ordering::SeqCst) == 1);
        drop(signals);
        signal::raise(SIGUSR1).unwrap();
        common::until(|| CALLED.load(Ordering::SeqCst) == 2);
    });
}

#[test]
fn no_descriptor_is_left_and_no_subscriber() {
    alone(common::test_path!(), || {
        let once = || {
            let signals = signal::notify(&[SIGUSR1, SIGUSR2]).unwrap();
            signal::raise(SIGUSR1).unwrap();
            assert_eq!(signals.recv(), Ok(SIGUSR1));
            drop(signal::ctrl_c());
        };
        once();
        let before = common::proc::descriptors();
        (0..100).for_each(|_| once());
        assert_eq!(common::proc::descriptors(), before);
    });
}

#[test]
fn a_waker_that_panics_does_not_end_the_signals_of_others() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker")
        }
    }
    alone(common::test_path!(), || {
        let mut first = signal::notify(&[SIGUSR1]).unwrap().into_stream();
        let waker = std::task::Waker::from(Arc::new(Panics));
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(futures::StreamExt::poll_next_unpin(&mut first, &mut cx).is_pending());
        let second = signal::notify(&[SIGUSR1]).unwrap();
        for _ in 0..2 {
            signal::raise(SIGUSR1).unwrap();
            assert_eq!(second.recv(), Ok(SIGUSR1));
        }
    });
}
