//! What the tests of protocols share: a runtime that is looked over afterwards, connections, certificates, servers.
#![allow(dead_code, unused_imports, reason = "each test crate uses its own share")]

#[path = "../../../tests/common/mod.rs"]
pub(crate) mod common;
#[path = "servers.rs"]
pub(crate) mod servers;
#[path = "tls.rs"]
pub(crate) mod tls;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Mutex;

use aqueduct::net::{TcpListener, TcpStream};
use aqueduct::runtime::Runtime;

pub(crate) use common::{lock, proc, soon, until};

/// Runs a test on a runtime of its own, alone in this process, and looks it over afterwards: every task has ended, the workers go
/// on working, and no socket is left open.
pub(crate) fn run_checked(test: &'static str, body: impl FnOnce() + Send + 'static) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = lock(&ALONE);
    let dog = common::Watchdog::start(test, 60);
    let before = sockets();

    let runtime = common::runtime(2);
    dog.watch(runtime.handle());
    runtime.run(body);
    dog.doing("waiting for the tasks to end");
    until(|| runtime.handle().dump().tasks().is_empty());
    let sum = runtime.run(|| {
        let handles: Vec<_> = (0..8).map(|i| aqueduct::spawn(async move { i })).collect();
        handles.into_iter().map(|handle| handle.join().expect("a task")).sum::<i32>()
    });
    assert_eq!(sum, 28, "the runtime works on");
    dog.doing("shutting down");
    let report = runtime.shutdown(soon());
    assert!(report.is_complete(), "{report}");
    dog.doing(format_args!("waiting for the sockets to be {before} again"));
    until(|| sockets() <= before);
}

/// The test it is used in, through [`run_checked`].
macro_rules! checked {
    ($body:expr) => {
        $crate::support::run_checked($crate::support::common::test_path!(), $body)
    };
}
pub(crate) use checked;

/// How many sockets this process has open. The pollers of a runtime that has ended are kept for the next one.
pub(crate) fn sockets() -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").flatten();
    let is_socket = |path: std::path::PathBuf| path.to_string_lossy().starts_with("socket:");
    descriptors.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(is_socket)).count()
}

/// A listener on a port of the system's choice, and its address.
pub(crate) fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Two ends of a connection: who connected, who accepted.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listen();
    let client = TcpStream::connect(address).expect("connects");
    let (server, _) = listener.accept().expect("accepts");
    (client, server)
}

/// An address at which nobody listens, and what keeps it so: a connection that has it at the other end. A port that is merely free
/// may be somebody else's the next moment.
pub(crate) fn nobody() -> (SocketAddr, (TcpStream, TcpStream)) {
    let held = pair();
    (held.0.local_addr().expect("an address"), held)
}

/// Ends a connection with a reset.
pub(crate) fn reset(stream: TcpStream) {
    stream.set_linger(Some(std::time::Duration::ZERO)).expect("an option");
    drop(stream);
}

/// `len` bytes that repeat late.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Waits until a task is suspended; from inside the runtime, whose workers it leaves to others.
pub(crate) fn until_waiting<T>(task: &aqueduct::JoinHandle<T>) {
    let handle = aqueduct::Handle::current();
    loop {
        let dump = handle.dump();
        let mut tasks = dump.tasks().iter();
        if tasks.any(|info| info.id() == task.id() && info.state() == aqueduct::task::State::Waiting) {
            return;
        }
        aqueduct::time::sleep(std::time::Duration::from_micros(200));
    }
}

/// How a side of a connection is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Go,
    Async,
}

pub(crate) const COLOURS: [Colour; 2] = [Colour::Go, Colour::Async];

/// A client's colour and a server's.
pub(crate) fn pairs_of_colours() -> impl Iterator<Item = (Colour, Colour)> {
    COLOURS.into_iter().flat_map(|client| COLOURS.into_iter().map(move |server| (client, server)))
}
