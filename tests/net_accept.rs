//! Accepting: many acceptors, closing, running out of descriptors, backlogs.

mod net_common;

use std::io::{ErrorKind, Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use aqueduct::net::{TcpListener, TcpStream};
use aqueduct::{Wait, go, spawn};
use futures::StreamExt;
use net_common::{everywhere, listen, within};

#[test]
fn each_connection_goes_to_one_of_several_acceptors() {
    everywhere(|| {
        let (listener, address) = listen();
        let acceptors: Vec<_> = (0..6)
            .map(|i| {
                let listener = listener.try_clone().unwrap();
                if i % 2 == 0 {
                    go(move || listener.accept().unwrap().1)
                } else {
                    spawn(async move { listener.accept_async().await.unwrap().1 })
                }
            })
            .collect();
        let clients: Vec<_> = (0..6).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut accepted: Vec<_> = acceptors.into_iter().map(|acceptor| acceptor.join().unwrap()).collect();
        let mut expected: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
        accepted.sort();
        expected.sort();
        assert_eq!(accepted, expected);
    });
}

#[test]
fn closing_ends_accept_and_incoming() {
    everywhere(|| {
        let (listener, address) = listen();
        let (a, b, c) =
            (listener.try_clone().unwrap(), listener.try_clone().unwrap(), listener.try_clone().unwrap());
        let accept = go(move || a.accept().unwrap_err().kind());
        let incoming = go(move || b.incoming().count());
        let stream = spawn(async move { c.incoming_async().count().await });
        listener.close();
        assert_eq!(accept.join().unwrap(), ErrorKind::NotConnected);
        assert_eq!(incoming.join().unwrap(), 0);
        assert_eq!(stream.join().unwrap(), 0);
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_whole_backlog_is_accepted_after_one_wait() {
    everywhere(|| {
        let (listener, address) = listen();
        let first = go({
            let listener = listener.try_clone().unwrap();
            move || drop(listener.accept().unwrap())
        });
        let clients: Vec<_> = (0..200).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        first.join().unwrap();
        for _ in 1..200 {
            listener.accept().unwrap();
        }
        drop(clients);
    });
}

#[test]
fn a_dropped_accept_leaves_the_connection_to_the_next() {
    everywhere(|| {
        use futures::FutureExt;
        let (listener, address) = listen();
        assert!(listener.accept_async().now_or_never().is_none());
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
    });
}

#[test]
fn connections_reset_before_they_are_accepted_do_no_harm() {
    everywhere(|| {
        let (listener, address) = listen();
        for _ in 0..20 {
            let client = TcpStream::connect(address).unwrap();
            client.set_linger(Some(Duration::ZERO)).unwrap();
        }
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"!").unwrap();
        let served = listener.incoming().any(|stream| matches!(stream.unwrap().read(&mut [0; 1]), Ok(1)));
        assert!(served);
    });
}

#[test]
fn from_std_and_back() {
    let listener = TcpListener::from_std(std::net::TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let _client = TcpStream::connect(address).unwrap();
    listener.accept().unwrap();
    assert_eq!(listener.into_std().unwrap().local_addr().unwrap(), address);
}

const CHILD: &str = "AQUEDUCT_TEST_ACCEPT_CHILD";

/// Runs a test of this file again, alone in a process of its own, where the variable `CHILD` is set.
fn run_in_child(test: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let status =
        child.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD, "1").status().unwrap();
    assert!(status.success(), "the child failed: {status}");
}

fn cpu_time() -> Duration {
    // SAFETY: all zeroes is a valid `rusage`, and the call fills it in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0);
        usage
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Lowers the limit on descriptors to `count` above what is open now.
fn limit_descriptors(count: u64) {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let limit = libc::rlimit { rlim_cur: open + count, rlim_max: open + count };
    // SAFETY: reads the struct it is given.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_starved_accept_is_quiet_and_recovers_within_a_second() {
    if std::env::var_os(CHILD).is_none() {
        return run_in_child("a_starved_accept_is_quiet_and_recovers_within_a_second");
    }
    within(Duration::from_secs(30), || {
        starve(|listener| drop(go(move || listener.incoming().map_while(Result::ok).for_each(serve_one))));
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_starved_accept_async_is_quiet_and_recovers_within_a_second() {
    if std::env::var_os(CHILD).is_none() {
        return run_in_child("a_starved_accept_async_is_quiet_and_recovers_within_a_second");
    }
    within(Duration::from_secs(30), || {
        starve(|listener| {
            drop(spawn(async move {
                while let Ok((stream, _)) = listener.accept_async().await {
                    serve_one(stream);
                }
            }));
        });
    });
}

/// Answers with a byte, and keeps nothing.
fn serve_one(mut stream: TcpStream) {
    let _ = stream.write_all(b"!");
}

/// Takes every descriptor while connections are waiting to be accepted, looks at the CPU time, and gives them
/// back.
#[cfg(target_os = "linux")]
fn starve(start: impl FnOnce(TcpListener)) {
    let (listener, address) = listen();
    let closer = listener.try_clone().unwrap();
    start(listener);
    let answer = |mut client: &socket2::Socket| client.read_exact(&mut [0; 1]);
    let unconnected = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let warm_up = unconnected();
    warm_up.connect(&address.into()).unwrap();
    answer(&warm_up).unwrap();
    // The end of the stream says that the server's descriptor is free again: it must not come free later.
    assert_eq!((&warm_up).read(&mut [0; 1]).unwrap(), 0);

    let clients: Vec<_> = (0..10).map(|_| unconnected()).collect();
    limit_descriptors(20);
    let hoard: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    assert!(hoard.len() >= 10, "{} descriptors were left", hoard.len());
    for client in &clients {
        client.connect(&address.into()).unwrap();
    }
    let (before, start) = (cpu_time(), Instant::now());
    // The span whose CPU time is measured.
    std::thread::sleep(Duration::from_secs(2));
    let share = (cpu_time() - before).as_secs_f64() / start.elapsed().as_secs_f64();
    assert!(share < 0.05, "{:.1} % CPU while starved", share * 100.0);
    clients[0].set_nonblocking(true).unwrap();
    assert_eq!(answer(&clients[0]).unwrap_err().kind(), ErrorKind::WouldBlock, "served without a descriptor");
    clients[0].set_nonblocking(false).unwrap();

    drop(hoard);
    let freed = Instant::now();
    for client in &clients {
        answer(client).unwrap();
    }
    assert!(freed.elapsed() < Duration::from_secs(1), "served only after {:?}", freed.elapsed());
    closer.close();
}

#[test]
fn accept_async_waits_too() {
    everywhere(|| {
        let (listener, address) = listen();
        let accepted = spawn(async move { listener.accept_async().await.map(|(_, peer)| peer) });
        let client = TcpStream::connect(address).unwrap();
        assert_eq!(accepted.wait().unwrap().unwrap(), client.local_addr().unwrap());
    });
}
