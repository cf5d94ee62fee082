//! `select!`: what it chooses, and what becomes of the rest.

mod common;

use aqueduct::channel::{self, Receiver};
use aqueduct::{Wait, go, select, select_async, spawn, time};
use common::party::everywhere;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_ready_receive_is_chosen() {
    everywhere(|| {
        let (tx, rx) = channel::bounded(1);
        let (_tx2, rx2) = channel::bounded::<u8>(1);
        tx.send(5).unwrap();
        let got = select! {
            v = <-rx => v.unwrap(),
            _ = <-rx2 => unreachable!(),
        };
        assert_eq!(got, 5);
    });
}

#[test]
fn default_is_chosen_when_nothing_can_happen() {
    everywhere(|| {
        let (tx, rx) = channel::bounded::<u8>(1);
        let chosen = select! {
            _ = <-rx => "recv",
            default => "default",
        };
        assert_eq!(chosen, "default");
        let chosen = select! {
            tx <- 1 => "send",
            default => { "default" }
        };
        assert_eq!(chosen, "send");
    });
}

#[test]
fn a_waiting_select_is_completed_by_a_peer() {
    everywhere(|| {
        for _ in 0..100 {
            let (tx, rx) = channel::bounded(0);
            let (tx2, rx2) = channel::bounded(0);
            let task = go(move || {
                let mut got = Vec::new();
                for _ in 0..2 {
                    select! {
                        v = <-rx => got.push(v.unwrap()),
                        r = tx2 <- 7 => r.unwrap(),
                        _ = <-time::after(LONG) => panic!("nobody came"),
                    }
                }
                got
            });
            tx.send(1).unwrap();
            assert_eq!(rx2.recv(), Ok(7));
            assert_eq!(task.join().unwrap(), [1]);
        }
    });
}

#[test]
fn a_closed_channel_happens() {
    everywhere(|| {
        let (tx, rx) = channel::bounded::<u8>(0);
        drop(tx);
        select! {
            v = <-rx => assert!(v.is_err()),
            _ = <-time::never() => unreachable!(),
        }
        let (tx, rx) = channel::bounded::<u8>(0);
        drop(rx);
        select! {
            r = tx <- 1 => assert_eq!(r.unwrap_err().0, 1),
            _ = <-time::never() => unreachable!(),
        }
    });
}

#[test]
fn a_nil_channel_never_happens() {
    everywhere(|| {
        let nothing: Option<Receiver<u8>> = None;
        let (tx, rx) = channel::bounded(1);
        tx.send(1).unwrap();
        select! {
            _ = <-nothing => unreachable!(),
            v = <-rx => assert_eq!(v, Ok(1)),
        }
    });
}

#[test]
fn a_lost_send_keeps_its_message_with_from() {
    everywhere(|| {
        let (tx, _rx) = channel::bounded::<String>(0);
        let mut message = Some("kept".to_string());
        select! {
            tx <- from message => unreachable!(),
            _ = <-time::after(Duration::from_millis(1)) => {}
        }
        assert_eq!(message.as_deref(), Some("kept"));
    });
}

#[test]
fn both_directions_of_one_channel_do_not_meet() {
    everywhere(|| {
        let (tx, rx) = channel::bounded(0);
        select! {
            v = <-rx => unreachable!("{v:?}"),
            tx <- 1 => unreachable!(),
            _ = <-time::after(Duration::from_millis(2)) => {}
        }
    });
}

#[test]
fn one_channel_twice_happens_once() {
    everywhere(|| {
        let (tx, rx) = channel::bounded(0);
        let task = go(move || {
            select! {
                v = <-rx => v.unwrap(),
                v = <-rx => v.unwrap(),
            }
        });
        tx.send(3).unwrap();
        assert_eq!(task.join().unwrap(), 3);
        assert!(tx.send(4).is_err());
    });
}

#[test]
fn two_selects_facing_each_other_meet() {
    everywhere(|| {
        for _ in 0..200 {
            let (tx, rx) = channel::bounded(0);
            let (tx2, rx2) = channel::bounded(0);
            let one = go(move || {
                select! {
                    r = tx <- 1 => { r.unwrap(); 0 }
                    v = <-rx2 => v.unwrap(),
                }
            });
            let other = std::thread::spawn(move || {
                select! {
                    r = tx2 <- 2 => { r.unwrap(); 0 }
                    v = <-rx => v.unwrap(),
                }
            });
            let (a, b) = (one.join().unwrap(), other.join().unwrap());
            assert!((a, b) == (0, 1) || (a, b) == (2, 0), "{a} {b}");
        }
    });
}

#[test]
fn futures_and_join_handles_are_cases() {
    everywhere(|| {
        let (_tx, rx) = channel::bounded::<u8>(0);
        let mut handle = spawn(async { 9 });
        let got = select! {
            _ = <-rx => 0,
            v = &mut handle => v.unwrap(),
        };
        assert_eq!(got, 9);
    });
}

#[test]
fn guards_switch_cases_off() {
    everywhere(|| {
        let (tx, rx) = channel::bounded(1);
        tx.send(1).unwrap();
        let open = false;
        select! {
            _ = <-rx, if open => unreachable!(),
            default => {}
        }
        select! {
            v = <-rx, if !open => assert_eq!(v, Ok(1)),
            default => unreachable!(),
        }
    });
}

#[test]
fn bodies_may_break_return_and_use_the_channels() {
    everywhere(|| {
        fn first(rx: Receiver<u8>) -> Result<u8, channel::RecvError> {
            let mut rx = Some(rx);
            loop {
                select! {
                    v = <-rx => {
                        let v = v?;
                        if v == 1 {
                            continue;
                        }
                        rx = None;
                        assert!(rx.is_none());
                        return Ok(v);
                    }
                }
            }
        }
        let (tx, rx) = channel::unbounded();
        tx.send(1).unwrap();
        tx.send(2).unwrap();
        assert_eq!(first(rx), Ok(2));
    });
}

#[test]
fn biased_takes_the_first() {
    everywhere(|| {
        let (tx, rx) = channel::unbounded();
        let (tx2, rx2) = channel::unbounded();
        for _ in 0..100 {
            tx.send(1).unwrap();
            tx2.send(2).unwrap();
        }
        for _ in 0..100 {
            select! {
                biased;
                v = <-rx => assert_eq!(v, Ok(1)),
                _ = <-rx2 => unreachable!(),
            }
        }
    });
}

#[test]
fn an_unbiased_select_is_fair() {
    everywhere(|| {
        const TRIALS: usize = 10_000;
        let (tx, rx) = channel::unbounded();
        let (tx2, rx2) = channel::unbounded();
        let (tx3, rx3) = channel::unbounded();
        for _ in 0..TRIALS {
            tx.send(()).unwrap();
            tx2.send(()).unwrap();
            tx3.send(()).unwrap();
        }
        let mut counts = [0_usize; 3];
        for _ in 0..TRIALS {
            select! {
                _ = <-rx => counts[0] += 1,
                _ = <-rx2 => counts[1] += 1,
                _ = <-rx3 => counts[2] += 1,
            }
        }
        // A share is binomial: 3,333 with a standard deviation of 47; six of them either side.
        for count in counts {
            assert!((3_050..=3_620).contains(&count), "{counts:?}");
        }
    });
}

#[test]
fn select_async_chooses_too() {
    everywhere(|| {
        let (tx, rx) = channel::bounded(0);
        let (tx2, rx2) = channel::bounded::<u8>(0);
        let task = spawn(async move {
            let mut got = 0;
            loop {
                select_async! {
                    v = <-rx => match v {
                        Ok(v) => got += v,
                        Err(_) => break got,
                    },
                    r = tx2 <- 1 => r.unwrap(),
                    _ = <-time::after(LONG) => panic!("nobody came"),
                }
            }
        });
        for _ in 0..50 {
            tx.send(2).unwrap();
            assert_eq!(rx2.recv(), Ok(1));
        }
        drop(tx);
        assert_eq!(task.wait().unwrap(), 100);
    });
}

#[test]
fn a_cancelled_select_takes_nothing() {
    everywhere(|| {
        for _ in 0..200 {
            let (tx, rx) = channel::bounded::<u32>(0);
            let keep = rx.clone();
            let task = go(move || {
                select! {
                    v = <-rx => v.unwrap(),
                    _ = <-time::never() => unreachable!(),
                }
            });
            let sender = go(move || tx.send(1));
            task.cancel();
            match task.join() {
                // Completion beats cancellation.
                Ok(v) => assert_eq!(v, 1),
                Err(error) => {
                    assert!(error.is_cancelled());
                    assert_eq!(keep.recv(), Ok(1));
                }
            }
            assert!(sender.join().unwrap().is_ok());
        }
    });
}
