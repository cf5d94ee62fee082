//! Spans that follow a coroutine, and do not leak to its neighbours on the worker.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once, PoisonError};

use aqueduct::prelude::*;
use aqueduct_compat::tokio::InTokioExt;
use aqueduct_compat::tracing::{follow, follow_async, in_span};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Instrument, Span, Subscriber, info, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// What has been recorded: `span:span: message`. Tests tell theirs by the first word of the message.
static RECORD: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Names of spans that have been closed.
static CLOSED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Recorder;

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let scope = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let spans: Vec<_> = scope.map(|span| span.name()).collect();
        let line = format!("{}: {}", spans.join(":"), message.0);
        RECORD.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let name = context.span(&id).expect("still there").name().to_owned();
        CLOSED.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    }
}

/// The subscriber belongs to the process.
fn record() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Recorder)).unwrap();
    });
}

/// The lines whose message begins with this word, in their order.
fn lines_of(test: &str) -> Vec<String> {
    let record = RECORD.lock().unwrap_or_else(PoisonError::into_inner);
    record.iter().filter(|line| line.contains(&format!(": {test} "))).cloned().collect()
}

fn is_closed(name: &str) -> bool {
    CLOSED.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|closed| closed == name)
}

/// One worker, so that neighbours share its thread.
fn on_one_worker<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    record();
    Runtime::builder().workers(1).build().unwrap().run(body)
}

/// For a coroutine to tell, at once, that it has begun. On one worker, who hears of it runs when the teller waits.
fn latch() -> (channel::Sender<()>, channel::Receiver<()>) {
    channel::bounded(1)
}

/// The name of the span that is current here.
fn current() -> Option<&'static str> {
    Span::current().metadata().map(|metadata| metadata.name())
}

#[test]
fn a_span_follows_a_coroutine_and_its_neighbours_stay_out() {
    on_one_worker(|| {
        let (to_a, from_b) = channel::bounded(0);
        let (to_b, from_a) = channel::bounded(0);
        let a = go!(in_span(&info_span!("a"), || {
            for i in 0..3 {
                info!("interleaved a{i}");
                to_b.send(i).unwrap();
                from_b.recv().unwrap();
            }
        }));
        let b = go!(in_span(&info_span!("b"), || {
            for i in 0..3 {
                assert_eq!(from_a.recv(), Ok(i));
                info!("interleaved b{i}");
                to_a.send(i).unwrap();
            }
        }));
        let outside = go!(for i in 0..3 {
            info!("interleaved outside{i}");
            yield_now();
        });
        for handle in [a, b, outside] {
            handle.join().unwrap();
        }
        assert_eq!(current(), None);
    });
    let mut lines = lines_of("interleaved");
    lines.sort();
    let expected = [
        ": interleaved outside0",
        ": interleaved outside1",
        ": interleaved outside2",
        "a: interleaved a0",
        "a: interleaved a1",
        "a: interleaved a2",
        "b: interleaved b0",
        "b: interleaved b1",
        "b: interleaved b2",
    ];
    assert_eq!(lines, expected);
}

/// What the hook is for.
#[test]
fn without_following_the_neighbour_logs_into_the_span() {
    on_one_worker(|| {
        let (release, released) = channel::bounded::<()>(0);
        let (started, has_started) = latch();
        let leaking = go!(info_span!("leaking").in_scope(|| {
            started.send(()).unwrap();
            released.recv().unwrap();
        }));
        has_started.recv().unwrap();
        go!(info!("leak neighbour")).join().unwrap();
        release.send(()).unwrap();
        leaking.join().unwrap();
    });
    assert_eq!(lines_of("leak"), ["leaking: leak neighbour"]);
}

#[tracing::instrument]
fn instrumented() {
    yield_now();
    info!("nested in all");
    Span::current().in_scope(|| {
        // Entered a second time.
        yield_now();
        info!("nested twice");
    });
    yield_now();
}

#[test]
fn nested_spans_come_back_in_their_order() {
    on_one_worker(|| {
        let handle = go!(in_span(&info_span!("outer"), || {
            let middle = info_span!("middle").entered();
            instrumented();
            info!("nested in two");
            yield_now();
            drop(middle);
            yield_now();
            info!("nested in one");
        }));
        while !handle.is_finished() {
            assert_eq!(current(), None);
            yield_now();
        }
        handle.join().unwrap();
    });
    let expected = [
        "outer:middle:instrumented: nested in all",
        "outer:middle:instrumented: nested twice",
        "outer:middle: nested in two",
        "outer: nested in one",
    ];
    assert_eq!(lines_of("nested"), expected);
}

#[test]
fn guards_dropped_out_of_order_stay_balanced() {
    on_one_worker(|| {
        let (started, has_started) = latch();
        let handle = go!({
            let _follow = follow();
            let first = info_span!("first").entered();
            let second = info_span!("second").entered();
            started.send(()).unwrap();
            yield_now();
            drop(first);
            yield_now();
            info!("unordered left");
            drop(second);
            yield_now();
            info!("unordered none");
        });
        has_started.recv().unwrap();
        assert_eq!(current(), None);
        handle.join().unwrap();
        assert_eq!(current(), None);
    });
    // A span's parents are those that it was made in.
    assert_eq!(lines_of("unordered"), ["first:second: unordered left", ": unordered none"]);
}

#[test]
fn guards_nest() {
    on_one_worker(|| {
        let handle = go!(in_span(&info_span!("one"), || {
            yield_now();
            in_span(&info_span!("two"), || {
                yield_now();
                let _follow = follow();
                let _three = info_span!("three").entered();
                yield_now();
                info!("guards three");
            });
            yield_now();
            info!("guards one");
        }));
        while !handle.is_finished() {
            assert_eq!(current(), None);
            yield_now();
        }
        handle.join().unwrap();
    });
    assert_eq!(lines_of("guards"), ["one:two:three: guards three", "one: guards one"]);
}

#[test]
fn a_cancelled_coroutine_leaves_no_span_behind() {
    on_one_worker(|| {
        struct WaitsInDrop;
        impl Drop for WaitsInDrop {
            fn drop(&mut self) {
                yield_now(); // while the coroutine unwinds
                info!("cancelled destructor");
            }
        }
        let (started, has_started) = latch();
        let handle = go!(in_span(&info_span!("cancelled-span"), || {
            let _waits = WaitsInDrop;
            started.send(()).unwrap();
            std::future::pending::<()>().wait();
        }));
        has_started.recv().unwrap();
        assert_eq!(current(), None);
        handle.cancel();
        assert!(handle.join().unwrap_err().is_cancelled());
        assert_eq!(current(), None);
        info!("cancelled after");
    });
    assert_eq!(lines_of("cancelled"), ["cancelled-span: cancelled destructor", ": cancelled after"]);
    assert!(is_closed("cancelled-span"), "the references are given back");
}

#[test]
fn a_panic_leaves_no_span_behind() {
    on_one_worker(|| {
        let handle = go!(in_span(&info_span!("panicking-span"), || {
            yield_now();
            let thrower = || -> () {
                yield_now();
                std::panic::resume_unwind(Box::new("thrown"));
            };
            let caught = catch_unwind(AssertUnwindSafe(|| in_span(&info_span!("caught-span"), thrower)));
            assert!(caught.is_err());
            yield_now();
            info!("panic caught");
            thrower();
        }));
        assert!(handle.join().unwrap_err().is_panic());
        assert_eq!(current(), None);
    });
    assert_eq!(lines_of("panic"), ["panicking-span: panic caught"]);
    assert!(is_closed("panicking-span") && is_closed("caught-span"), "the references are given back");
}

#[test]
fn spans_entered_before_the_guard_stay() {
    on_one_worker(|| {
        let (started, has_started) = latch();
        let (release, released) = latch();
        let handle = go!(info_span!("before").in_scope(|| {
            in_span(&info_span!("within"), || {
                started.send(()).unwrap();
                released.recv().unwrap();
                info!("base within");
            });
        }));
        has_started.recv().unwrap();
        assert_eq!(current(), Some("before"), "not the guard's to take away");
        release.send(()).unwrap();
        handle.join().unwrap();
        assert_eq!(current(), None);
    });
    assert_eq!(lines_of("base"), ["before:within: base within"]);
}

#[test]
fn a_future_that_waits_in_its_poll_keeps_its_span() {
    on_one_worker(|| {
        struct WaitsInDrop;
        impl Drop for WaitsInDrop {
            fn drop(&mut self) {
                yield_now();
                info!("poll dropped");
            }
        }
        let future = async {
            let _waits = WaitsInDrop;
            yield_now();
            info!("poll waited");
            yield_now_async().await;
            info!("poll awaited");
            std::future::pending::<()>().await;
        };
        let handle = spawn(follow_async(future.instrument(info_span!("polled"))));
        while lines_of("poll").len() < 2 {
            yield_now();
            assert_eq!(current(), None);
        }
        handle.cancel();
        assert!(handle.join().unwrap_err().is_cancelled());
        assert_eq!(current(), None);
    });
    assert_eq!(lines_of("poll"), ["polled: poll waited", "polled: poll awaited", "polled: poll dropped"]);
}

#[test]
fn a_span_is_not_closed_while_its_coroutine_waits() {
    on_one_worker(|| {
        let (release, released) = channel::bounded::<()>(0);
        let (started, has_started) = latch();
        let handle = go!({
            let _follow = follow();
            let _entered = info_span!("waiting-span").entered();
            started.send(()).unwrap();
            released.recv().unwrap();
        });
        has_started.recv().unwrap();
        assert!(!is_closed("waiting-span"));
        release.send(()).unwrap();
        handle.join().unwrap();
    });
    assert!(is_closed("waiting-span"));
}

#[test]
fn off_the_workers_following_is_harmless() {
    record();
    in_span(&info_span!("thread"), || {
        yield_now();
        assert_eq!(aqueduct::block_on(async { 7 }), 7);
        assert_eq!(current(), Some("thread"));
    });
    assert_eq!(current(), None);
}

/// Each carries its own state over the waits of one task.
#[test]
fn spans_and_tokios_context_are_carried_together() {
    on_one_worker(|| {
        let work = |name: &'static str| {
            let sleep = || ::tokio::time::sleep(std::time::Duration::from_millis(2)).in_tokio().wait();
            go!(in_span(&info_span!("together"), || {
                aqueduct_compat::tokio::enter(|| {
                    let _inner = info_span!("in context").entered();
                    for _ in 0..3 {
                        sleep();
                        yield_now();
                    }
                    assert!(::tokio::runtime::Handle::try_current().is_ok());
                    info!("both {name}");
                });
                assert!(::tokio::runtime::Handle::try_current().is_err());
                info!("both {name} left");
            }))
        };
        let (one, other) = (work("one"), work("other"));
        while !(one.is_finished() && other.is_finished()) {
            assert_eq!(current(), None);
            assert!(::tokio::runtime::Handle::try_current().is_err());
            yield_now();
        }
        one.join().unwrap();
        other.join().unwrap();
    });
    let mut lines = lines_of("both");
    lines.sort();
    let expected = [
        "together: both one left",
        "together: both other left",
        "together:in context: both one",
        "together:in context: both other",
    ];
    assert_eq!(lines, expected);
}

/// A subscriber that does not know its current span.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<Vec<&'static str>>>);

impl Subscriber for Counts {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {
        self.0.lock().unwrap().push("enter");
    }
    fn exit(&self, _: &Id) {
        self.0.lock().unwrap().push("exit");
    }
}

#[test]
fn under_a_subscriber_without_a_current_span_the_given_span_is_carried() {
    let counts = Counts::default();
    let inside = counts.clone();
    on_one_worker(move || {
        // For the one worker's thread, while nobody else is at work on it.
        let _default = tracing::subscriber::set_default(inside);
        in_span(&info_span!("carried"), yield_now);
    });
    assert_eq!(*counts.0.lock().unwrap(), ["enter", "exit", "enter", "exit"]);
}
