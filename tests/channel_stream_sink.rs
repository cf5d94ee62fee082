//! Channels as streams and sinks, by the letter of the traits and through the combinators of `futures`.

mod common;

use aqueduct::Wait;
use aqueduct::channel::{self, Receiver, RecvStream, SendSink, Sender};
use common::party::{PARTIES, pairs};
use common::{Counted, Drops};
use futures::stream::{self, FusedStream};
use futures::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use futures_test::task::{new_count_waker, noop_context, panic_context};
use futures_test::{assert_stream_done, assert_stream_next, assert_stream_pending};
use std::pin::Pin;
use std::task::Poll;

const CAPACITIES: [Option<usize>; 5] = [Some(0), Some(1), Some(2), Some(7), None];

fn make<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    match capacity {
        Some(capacity) => channel::bounded(capacity),
        None => channel::unbounded(),
    }
}

fn assert_send_unpin<T: Send + Unpin>(value: T) -> T {
    value
}

#[test]
fn a_stream_gives_what_comes_and_ends_for_good() {
    let (tx, rx) = channel::bounded(2);
    let mut stream = assert_send_unpin(rx.stream());
    assert_stream_pending!(stream);
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    assert_stream_next!(stream, 1);
    assert_stream_next!(stream, 2);
    assert_stream_pending!(stream);
    tx.send(3).unwrap();
    drop(tx);
    assert_stream_next!(stream, 3);
    assert!(!stream.is_terminated());
    assert_stream_done!(stream);
    assert!(stream.is_terminated());
    assert_stream_done!(stream);
    // The end is known: nobody is asked, or woken.
    assert_eq!(stream.poll_next_unpin(&mut panic_context()), Poll::Ready(None));
}

#[test]
fn a_stream_keeps_its_place_in_line_between_polls() {
    let (tx, rx) = channel::bounded(1);
    let mut first = rx.stream();
    let mut second = rx.clone().into_stream();
    let (waker, count) = new_count_waker();
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(first.poll_next_unpin(&mut cx).is_pending());
    assert_stream_pending!(second);
    // Another poll, by another task, changes the waker and not the place.
    assert_stream_pending!(second);
    assert!(first.poll_next_unpin(&mut cx).is_pending());
    tx.send(1).unwrap();
    assert_eq!(count, 1);
    assert_stream_next!(first, 1);
}

#[test]
fn a_stream_that_is_dropped_while_notified_passes_the_notification_on() {
    let (tx, rx) = channel::bounded(1);
    let mut first = rx.stream();
    let mut second = rx.stream();
    let (waker, count) = new_count_waker();
    let mut cx = std::task::Context::from_waker(&waker);
    assert_stream_pending!(first);
    assert!(second.poll_next_unpin(&mut cx).is_pending());
    tx.send(1).unwrap();
    assert_eq!(count, 0);
    drop(first);
    assert_eq!(count, 1);
    assert_stream_next!(second, 1);
}

#[test]
fn size_hint_tells_the_truth() {
    let (tx, rx) = channel::bounded(4);
    let stream = rx.clone().into_stream();
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    assert_eq!(stream.size_hint(), (0, None), "the other handle may take them");
    assert_eq!(rx.stream().size_hint(), (0, None));
    drop(rx);
    assert_eq!(stream.size_hint(), (2, None));
    tx.close();
    assert_eq!(stream.size_hint(), (2, Some(2)));
    let mut stream = stream;
    assert_stream_next!(stream, 1);
    assert_eq!(stream.size_hint(), (1, Some(1)));
    assert_stream_next!(stream, 2);
    assert_stream_done!(stream);
    assert_eq!(stream.size_hint(), (0, Some(0)));
}

#[test]
fn a_sink_reserves_and_gives_back() {
    let (tx, rx) = channel::bounded(1);
    let mut sink = assert_send_unpin(tx.clone().into_sink());
    let mut cx = noop_context();
    assert!(sink.poll_ready_unpin(&mut cx).is_ready());
    assert!(sink.poll_ready_unpin(&mut panic_context()).is_ready(), "a place is held already");
    assert!(tx.try_send(0).unwrap_err().is_full());
    sink.start_send_unpin(1).unwrap();
    assert!(sink.poll_flush_unpin(&mut panic_context()).is_ready());
    let (waker, count) = new_count_waker();
    assert!(sink.poll_ready_unpin(&mut std::task::Context::from_waker(&waker)).is_pending());
    assert_eq!(rx.recv(), Ok(1));
    assert_eq!(count, 1);
    // The place is the sink's now, though it has not looked; dropped, it returns it.
    assert!(tx.try_send(0).unwrap_err().is_full());
    drop(sink);
    tx.try_send(2).unwrap();
    // One that holds a place knowingly.
    assert_eq!(rx.recv(), Ok(2));
    let mut sink = tx.sink();
    assert!(sink.poll_ready_unpin(&mut cx).is_ready());
    assert!(tx.try_send(0).unwrap_err().is_full());
    assert!(sink.poll_close_unpin(&mut cx).is_ready());
    tx.try_send(3).unwrap();
    assert!(!tx.is_closed(), "a borrowed sender stays");
}

#[test]
fn a_closed_sink_fails_and_stays_closed() {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let mut sink = tx.into_sink();
        let mut cx = noop_context();
        assert!(matches!(sink.poll_close_unpin(&mut cx), Poll::Ready(Ok(()))));
        assert!(rx.is_closed());
        assert!(sink.sender().is_none());
        assert!(matches!(sink.poll_ready_unpin(&mut cx), Poll::Ready(Err(_))));
        assert_eq!(sink.start_send_unpin(1).unwrap_err().into_inner(), Some(1));
        assert!(matches!(sink.poll_flush_unpin(&mut cx), Poll::Ready(Ok(()))));
        assert!(matches!(sink.poll_close_unpin(&mut cx), Poll::Ready(Ok(()))));
        assert!(matches!(sink.clone().poll_ready_unpin(&mut cx), Poll::Ready(Err(_))));
    }
}

#[test]
fn a_channel_that_closes_fails_the_sink_with_the_message() {
    let (tx, rx) = channel::bounded(1);
    let mut sink = tx.into_sink();
    let mut cx = noop_context();
    assert!(sink.poll_ready_unpin(&mut cx).is_ready());
    rx.close();
    assert_eq!(sink.start_send_unpin(1).unwrap_err().into_inner(), Some(1));
    assert!(matches!(sink.poll_ready_unpin(&mut cx), Poll::Ready(Err(_))));

    let (tx, rx) = channel::bounded(0);
    let mut sink = tx.into_sink();
    assert!(sink.poll_ready_unpin(&mut cx).is_ready());
    sink.start_send_unpin(1).unwrap();
    assert!(sink.poll_flush_unpin(&mut cx).is_pending());
    drop(rx);
    let Poll::Ready(Err(error)) = sink.poll_flush_unpin(&mut cx) else { panic!("it was refused") };
    assert_eq!(error.into_inner(), Some(1));
}

#[test]
fn on_a_rendezvous_the_offer_stands_before_it_is_flushed() {
    let (tx, rx) = channel::bounded(0);
    let mut sink = tx.into_sink();
    let mut cx = noop_context();
    assert!(sink.poll_ready_unpin(&mut cx).is_ready());
    assert!(rx.try_recv().is_err());
    sink.start_send_unpin(1).unwrap();
    let (waker, count) = new_count_waker();
    let mut counting = std::task::Context::from_waker(&waker);
    assert!(sink.poll_ready_unpin(&mut counting).is_pending());
    assert!(sink.poll_flush_unpin(&mut counting).is_pending());
    assert!(sink.poll_close_unpin(&mut counting).is_pending());
    assert_eq!(rx.try_recv(), Ok(1));
    assert_eq!(count, 1);
    assert!(sink.poll_flush_unpin(&mut cx).is_ready());
    // A receiver that waits is given the next one by start_send alone.
    let receiver = aqueduct::go(move || (rx.recv(), rx));
    common::until_waiting(&aqueduct::Handle::current(), receiver.id());
    assert!(sink.poll_ready_unpin(&mut cx).is_ready());
    sink.start_send_unpin(2).unwrap();
    let (received, rx) = receiver.join().unwrap();
    assert_eq!(received, Ok(2));
    assert!(sink.poll_flush_unpin(&mut cx).is_ready());
    // Dropped with its offer: the receiver never sees it.
    sink.start_send_unpin(3).unwrap();
    drop(sink);
    assert!(rx.recv().is_err());
}

#[test]
#[should_panic = "start_send must follow a poll_ready"]
fn start_send_without_poll_ready_panics() {
    let (tx, _rx) = channel::bounded(1);
    let _ = tx.sink().start_send_unpin(1);
}

#[test]
fn forward_carries_everything_in_order_and_closes() {
    for capacity in CAPACITIES {
        for (from, to) in pairs() {
            let ((tx, middle), (middle_tx, rx)) = (make(capacity), make(capacity));
            let sending = from.drive(async move {
                let mut sink = tx.into_sink();
                sink.send_all(&mut stream::iter((0..200).map(Ok))).await.unwrap();
                sink.close().await.unwrap();
            });
            let forwarding = to.drive(middle.into_stream().map(Ok).forward(middle_tx.into_sink()));
            let received = from.drive(rx.into_stream().collect::<Vec<i32>>());
            assert_eq!(received.join(), (0..200).collect::<Vec<_>>(), "{from:?} {to:?} {capacity:?}");
            sending.join();
            forwarding.join().unwrap();
        }
    }
}

#[test]
fn streams_and_sinks_meet_go_style_parties() {
    for capacity in CAPACITIES {
        for party in PARTIES {
            let (tx, rx) = make(capacity);
            let producer = aqueduct::go(move || (0..100).try_for_each(|i| tx.send(i)).is_ok());
            let chunks = party.drive(rx.into_stream().take(90).map(|i| 2 * i).chunks(9).collect::<Vec<_>>());
            let chunks = chunks.join();
            assert_eq!(chunks.len(), 10);
            assert_eq!(chunks.concat(), (0..90).map(|i| 2 * i).collect::<Vec<_>>());
            // `take` dropped the stream at its end, or at the end of `collect`: the producer fails or had room for the rest.
            let _ = producer.join().unwrap();

            let (tx, rx) = make(capacity);
            let consumer = std::thread::spawn(move || rx.iter().sum::<i32>());
            let sending = party.drive(async move {
                let sink = tx.into_sink().with(async |i: i32| Ok::<_, channel::SinkError<i32>>(i + 1));
                let mut sink = std::pin::pin!(sink);
                for i in 0..99 {
                    sink.feed(i).await.unwrap();
                }
                sink.send(99).await.unwrap();
            });
            sending.join();
            assert_eq!(consumer.join().unwrap(), (1..=100).sum());
        }
    }
}

#[test]
fn select_all_and_buffer_unordered_lose_nothing() {
    for capacity in CAPACITIES {
        for (party, other) in pairs() {
            let (ends, streams): (Vec<_>, Vec<_>) = (0..4).map(|_| make(capacity)).unzip();
            let senders: Vec<_> = ends
                .into_iter()
                .enumerate()
                .map(|(i, tx): (_, Sender<usize>)| {
                    let tx_async = tx.clone();
                    other.start(move || (0..50).for_each(|j| tx.send(100 * i + j).unwrap()), async move {
                        for j in 0..50 {
                            tx_async.send_async(100 * i + j).await.unwrap();
                        }
                    })
                })
                .collect();
            let all = stream::select_all(streams.into_iter().map(Receiver::into_stream));
            let all = all.map(|i| async move {
                if i % 7 == 0 {
                    aqueduct::yield_now_async().await;
                }
                i
            });
            let mut received = party.drive(all.buffer_unordered(5).collect::<Vec<_>>()).join();
            received.sort_unstable();
            let sent: Vec<_> = (0..4).flat_map(|i| (0..50).map(move |j| 100 * i + j)).collect();
            assert_eq!(received, sent, "{party:?} {other:?} {capacity:?}");
            senders.into_iter().for_each(|sender| sender.join());
        }
    }
}

/// Both directions in one, as a connection is.
struct Duplex {
    requests: SendSink<u32>,
    answers: RecvStream<u32>,
}

impl Stream for Duplex {
    type Item = u32;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Option<u32>> {
        self.answers.poll_next_unpin(cx)
    }
}

impl Sink<u32> for Duplex {
    type Error = channel::SinkError<u32>;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Result<(), Self::Error>> {
        self.requests.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: u32) -> Result<(), Self::Error> {
        self.requests.start_send_unpin(item)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Result<(), Self::Error>> {
        self.requests.poll_flush_unpin(cx)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Result<(), Self::Error>> {
        self.requests.poll_close_unpin(cx)
    }
}

#[test]
fn split_and_reunite() {
    for capacity in CAPACITIES {
        let (requests, requested) = make::<u32>(capacity);
        let (answers_tx, answers) = make(capacity);
        let server = aqueduct::go(move || requested.iter().try_for_each(|i| answers_tx.send(i + 1)).is_ok());
        let duplex = Duplex { requests: requests.into_sink(), answers: answers.into_stream() };
        let (mut sink, mut stream) = duplex.split();
        let sending = aqueduct::spawn(async move {
            for i in 0..50 {
                sink.send(i).await.unwrap();
            }
            sink
        });
        let answered: Vec<u32> = stream.by_ref().take(50).collect().wait();
        assert_eq!(answered, (1..=50).collect::<Vec<_>>());
        let mut duplex = sending.join().unwrap().reunite(stream).unwrap();
        duplex.close().wait().unwrap();
        assert_eq!(duplex.next().wait(), None);
        assert!(server.join().unwrap());
    }
}

#[test]
fn interleaved_streams_and_sinks_that_are_slow_to_poll() {
    use futures_test::future::FutureTestExt;
    use futures_test::sink::SinkTestExt;
    use futures_test::stream::StreamTestExt;
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let mut numbers = stream::iter(0..40).map(Ok).interleave_pending();
        let sending = async move {
            let mut sink = tx.into_sink().interleave_pending_sink();
            sink.send_all(&mut numbers).await.unwrap();
            sink.close().await.unwrap();
        };
        let receiving = rx.into_stream().interleave_pending().collect::<Vec<i32>>();
        let both = futures::future::join(sending.pending_once(), receiving.pending_once());
        assert_eq!(both.wait().1, (0..40).collect::<Vec<_>>());
    }
}

#[test]
fn every_message_is_dropped_once() {
    for capacity in CAPACITIES {
        let drops = Drops::new();
        let (tx, rx) = make::<Counted>(capacity);
        let mut sink = tx.into_sink();
        let mut stream = rx.into_stream();
        // As far as it goes without anybody waiting, then one message is received, then all is dropped.
        for _ in 0..5 {
            if sink.feed(drops.one()).now_or_never().is_none() {
                break;
            }
        }
        drop(stream.next().now_or_never());
        drop(sink);
        drop(stream);
        assert_eq!(drops.made(), drops.dropped(), "capacity {capacity:?}");
    }
}
