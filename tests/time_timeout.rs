//! Timeouts through the public interface.

use std::cell::Cell;
use std::future::{self, Future, IntoFuture, poll_fn, ready};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use aqueduct::time::{self, Elapsed, Timer};
use aqueduct::{Wait, block_on};
use futures_test::task::noop_context;

const HOUR: Duration = Duration::from_secs(3600);
const MILLI: Duration = Duration::from_millis(1);

#[test]
fn a_ready_future_wins_even_when_time_is_up() {
    assert_eq!(block_on(time::timeout(Duration::ZERO, ready(7))), Ok(7));
    assert_eq!(block_on(time::timeout_at(Instant::now(), ready(7))), Ok(7));
    assert_eq!(block_on(time::timeout(Duration::MAX, ready(7))), Ok(7));
}

#[test]
fn a_pending_future_with_no_time_left_elapses_at_once() {
    let mut timeout = pin!(time::timeout(Duration::ZERO, future::pending::<()>()));
    assert!(matches!(timeout.as_mut().poll(&mut noop_context()), Poll::Ready(Err(_))));
}

#[test]
fn the_limit_counts_from_the_call_and_is_not_early() {
    let timeout = time::timeout(MILLI, future::pending::<()>());
    let deadline = timeout.deadline();
    assert!(timeout.wait().is_err());
    assert!(Instant::now() >= deadline);
}

#[test]
fn a_future_in_time_gives_its_value() {
    let value = async {
        Timer::after(MILLI).await;
        7
    };
    assert_eq!(time::timeout(HOUR, value).wait(), Ok(7));
}

#[test]
fn nested_timeouts_fire_from_the_inside() {
    let inner = time::timeout(MILLI, future::pending::<()>());
    assert!(matches!(time::timeout(HOUR, inner).wait(), Ok(Err(_))));
    let inner = time::timeout(HOUR, future::pending::<()>());
    assert!(time::timeout(MILLI, inner).wait().is_err());
}

#[test]
fn the_future_is_dropped_with_the_timeout() {
    struct Flag<'a>(&'a Cell<bool>);
    impl Drop for Flag<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let dropped = Cell::new(false);
    let flag = Flag(&dropped);
    let never = poll_fn(move |_| {
        let _held = &flag;
        Poll::<()>::Pending
    });
    assert!(time::timeout(MILLI, never).wait().is_err());
    assert!(dropped.get());
}

#[test]
fn the_future_survives_into_inner() {
    let timeout = time::timeout(Duration::ZERO, ready(7));
    assert_eq!(block_on(timeout.into_inner()), 7);
}

#[test]
fn anything_that_becomes_a_future_is_taken() {
    struct Request;
    impl IntoFuture for Request {
        type Output = u8;
        type IntoFuture = future::Ready<u8>;
        fn into_future(self) -> future::Ready<u8> {
            ready(7)
        }
    }
    assert_eq!(time::timeout(HOUR, Request).wait(), Ok(7));
}

#[test]
fn elapsed_becomes_an_io_error() {
    fn fails() -> io::Result<()> {
        time::timeout(MILLI, future::pending::<()>()).wait()?;
        Ok(())
    }
    let error = fails().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(error.get_ref().unwrap().is::<Elapsed>());
    assert_eq!(error.to_string(), "the time limit has passed");
}
