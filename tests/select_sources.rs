//! What else a select chooses among: tokens, and any number of cases.

mod common;

use aqueduct::channel;
use aqueduct::select::{Receive, Select};
use aqueduct::sync::CancellationToken;
use aqueduct::sync::atomic::{AtomicBool, Ordering::Relaxed};
use aqueduct::{Wait, go, select, select_async, time};
use common::life::choose;
use common::party::{PARTIES, Party, pairs};
use common::{Rng, watchdog};
use futures::FutureExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_token_that_is_cancelled_is_a_case_that_happens() {
    let _dog = watchdog!(60);
    for (chooser, canceller) in pairs() {
        for cancelled_before in [false, true] {
            let (tx, jobs) = channel::bounded::<u8>(0);
            let token = CancellationToken::new();
            let child = token.child();
            if cancelled_before {
                token.cancel_with("stop");
            }
            let choosing = chooser.live(|style| async move {
                let mut causes = Vec::new();
                // Twice: to be cancelled is a state, not a message.
                for _ in 0..2 {
                    choose! { style;
                        job = <-jobs => unreachable!("{job:?}"),
                        cause = <-child => causes.push(cause.to_string()),
                        _ = <-time::after(LONG) => unreachable!("it is cancelled"),
                    }
                }
                causes
            });
            let cancelling = canceller.live(|_| async move { token.cancel_with("stop") });
            assert_eq!(choosing.join(), ["stop", "stop"], "{chooser:?} and {canceller:?}");
            cancelling.join();
            drop(tx);
        }
    }
}

#[test]
fn a_token_that_is_not_cancelled_leaves_the_others_alone() {
    let (tx, rx) = channel::bounded(1);
    let (token, nil) = (CancellationToken::new(), None::<CancellationToken>);
    for i in 0..100 {
        tx.send(i).unwrap();
        select! {
            _ = <-token => unreachable!("nobody cancels it"),
            _ = <-nil => unreachable!("there is none"),
            v = <-rx => assert_eq!(v, Ok(i)),
        }
        let nothing = select! {
            _ = <-token => false,
            _ = <-rx => false,
            default => true,
        };
        assert!(nothing);
    }
    token.cancel();
    let both = Some(&token);
    select! {
        cause = <-both => assert_eq!(cause.to_string(), "cancelled"),
        _ = <-rx => unreachable!("there is no message"),
    }
}

#[test]
fn a_tokens_deadline_ends_a_select() {
    let _dog = watchdog!(20);
    let (_tx, rx) = channel::bounded::<u8>(0);
    let begin = Instant::now();
    let token = CancellationToken::with_timeout(Duration::from_millis(5));
    let child = token.child();
    select! {
        _ = <-rx => unreachable!("nothing is sent"),
        cause = <-child => assert!(cause.is_deadline()),
    }
    assert!(begin.elapsed() >= Duration::from_millis(5));
    let chosen = async {
        select_async! {
            _ = <-rx => unreachable!("nothing is sent"),
            cause = <-token => cause,
        }
    };
    assert!(chosen.wait().is_deadline());
    let cause = Select::new().recv(&rx, |_| None).recv(&token, Some).wait();
    assert!(cause.unwrap().is_deadline());
}

#[test]
fn a_dynamic_select_takes_any_number_of_cases() {
    let _dog = watchdog!(60);
    const CHANNELS: u64 = 1_000;
    let mut rng = Rng::new("any number of cases");
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..CHANNELS).map(|_| channel::bounded(0)).unzip();
    let select = || {
        let mut select = Select::new();
        for (index, rx) in receivers.iter().enumerate() {
            select = select.recv(rx, move |message| (index, message));
        }
        select
    };
    assert!(select().try_wait().is_none());
    assert!(select().wait_timeout(Duration::from_millis(1)).is_none());
    for round in 0..20 {
        let chosen = rng.below(CHANNELS) as usize;
        let tx = senders[chosen].clone();
        let sending = aqueduct::go(move || tx.send(round));
        assert_eq!(select().wait(), (chosen, Ok(round)));
        assert!(sending.join().unwrap().is_ok());
        assert!(senders.iter().all(|tx| tx.try_send(0).is_err()), "nobody is left in line");
    }
}

#[test]
fn a_dynamic_select_can_be_awaited_and_given_up() {
    let (tx, rx) = channel::bounded(1);
    let (tx2, rx2) = channel::bounded(0);
    for _ in 0..100 {
        let mut select = Box::pin(Select::new().recv(&rx, |v| v).recv(&rx2, |v| v).wait_async());
        assert!(select.as_mut().now_or_never().is_none());
        tx.send(1).unwrap();
        // Told of a message, and given up: it stays where it is.
        drop(select);
        assert_eq!(rx.try_recv(), Ok(1));
        let select =
            Select::new().recv(&rx, |_| 0).send(&tx2, 5, |r| if r.is_ok() { 2 } else { 0 }).wait_async();
        let mut select = Box::pin(select);
        assert!(select.as_mut().now_or_never().is_none());
        assert_eq!(rx2.try_recv(), Ok(5));
        assert_eq!(select.now_or_never(), Some(2));
    }
}

/// A select in a loop over a case that is always ready shares in the budget, as every operation that may wait: its neighbours run.
#[test]
fn a_select_that_is_always_ready_lets_others_run() {
    let _dog = watchdog!(20);
    let runtime = common::runtime(1);
    for party in PARTIES.into_iter().filter(|party| *party != Party::Thread) {
        for dynamic in [false, true] {
            let (tx, closed) = channel::bounded::<u8>(0);
            tx.close();
            let over = Arc::new(AtomicBool::new(false));
            let seen = over.clone();
            let selecting = party.live_on(runtime.handle(), |style| async move {
                while !seen.load(Relaxed) {
                    if dynamic && style == common::life::Style::Go {
                        Select::new().recv(&closed, drop).wait();
                    } else {
                        choose! { style; _ = <-closed => {}, _ = <-time::never() => {} }
                    }
                }
            });
            let neighbour = runtime.go(move || over.store(true, Relaxed));
            neighbour.join().unwrap();
            selecting.join();
        }
    }
}

/// Both ends of a channel as one has them in a function that was lent them: by either kind of reference.
#[test]
fn borrowed_ends_are_cases() {
    fn shuttle(tx: &mut channel::Sender<u8>, rx: &mut channel::Receiver<u8>) -> u8 {
        let mut seen = None;
        while seen.is_none() {
            select! {
                v = <-rx => seen = v.ok(),
                tx <- 7 => {}
            }
        }
        seen.expect("the loop ends with it")
    }

    async fn shuttle_async(tx: &channel::Sender<u8>, rx: &mut channel::Receiver<u8>) -> u8 {
        let mut seen = None;
        while seen.is_none() {
            select_async! {
                v = <-rx => seen = v.ok(),
                tx <- 9 => {}
            }
        }
        seen.expect("the loop ends with it")
    }

    let _dog = watchdog!(20);
    let (mut tx, mut rx) = channel::bounded(1);
    assert_eq!(shuttle(&mut tx, &mut rx), 7);
    let left = std::iter::from_fn(|| rx.try_recv().ok()).count();
    assert!(left <= 1, "the channel holds one");
    assert_eq!(shuttle_async(&tx, &mut rx).wait(), 9);
}

/// Several wait for one timer: each moment is one's, and who gives up takes nothing from the others.
#[test]
fn timers_serve_all_who_wait_for_them() {
    let _dog = watchdog!(60);
    for party in PARTIES {
        let ticker = Arc::new(time::tick(Duration::from_millis(10)));
        let receiving = [(); 3].map(|()| {
            let ticker = ticker.clone();
            party.live(|style| async move {
                choose! { style; moment = <-*ticker => moment, _ = <-time::never() => unreachable!() }
            })
        });
        let mut moments = receiving.map(|receiving| receiving.join());
        moments.sort();
        assert!(moments.is_sorted_by(|a, b| a < b), "one moment twice: {moments:?}");
    }
    let ticker = Arc::new(time::tick(Duration::from_millis(10)));
    let receiving = [(); 2].map(|()| {
        let ticker = ticker.clone();
        go(move || ticker.recv())
    });
    let [one, other] = receiving.map(|receiving| receiving.join().unwrap());
    assert_ne!(one, other);
}

#[test]
fn a_select_that_loses_leaves_its_timer_to_the_others() {
    fn check<T: Receive<Output = Instant> + Send + Sync + 'static>(timer: T, recv: fn(&T) -> Instant) {
        let timer = Arc::new(timer);
        let receiving = go({
            let timer = timer.clone();
            move || recv(&timer)
        });
        common::until_waiting(&aqueduct::Handle::current(), receiving.id());
        let (tx, rx) = channel::bounded::<u8>(1);
        let selecting = go(move || select! { _ = <-rx => {}, _ = <-*timer => panic!("it is far") });
        common::until_waiting(&aqueduct::Handle::current(), selecting.id());
        tx.send(1).unwrap();
        selecting.join().unwrap();
        receiving.join().unwrap();
    }
    let _dog = watchdog!(60);
    // Far enough away that the select is over before.
    check(time::after(Duration::from_secs(1)), time::After::recv);
    check(time::tick(Duration::from_secs(1)), time::Ticker::recv);
}

/// One who awaits and those who select share a moment: one of them has it.
#[test]
fn a_timer_is_a_case_twice() {
    let _dog = watchdog!(60);
    let after = time::after(Duration::from_millis(5));
    select! { _ = <-after => {}, _ = <-after => {} }
    let ticker = time::tick(Duration::from_millis(5));
    for _ in 0..3 {
        select! { _ = <-ticker => {}, _ = <-ticker => {} }
    }
    // It has been received.
    select! { _ = <-after => unreachable!("once"), default => {} }
    assert!(after.now_or_never().is_none());
}
