//! What is not compared and only counted: operations that must not allocate once they are under way.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use aqueduct::net::{TcpListener, TcpStream};
use aqueduct::{go, spawn};
use workloads::measure::Meter;
use workloads::shapes::FAR;
use workloads::{Job, Sample};

const BRIEFLY: Duration = Duration::from_micros(1);

/// One at a time: `sleep`; `arm-cancel-among`, beside so many timers that stay armed; or `read-write`, an echo of 64 bytes between two
/// tasks of this process, of which `aqueduct-serve` has a kind too.
pub(crate) fn run(job: &Job) -> Option<Sample> {
    let work: fn(&Job) -> io::Result<Sample> = match (job.workload.as_str(), job.runtime.as_str()) {
        ("sleep", "aqueduct-go") => |job| Ok(measured(job, || aqueduct::time::sleep(BRIEFLY))),
        ("sleep", "aqueduct-async") => |job| {
            let job = job.clone();
            let sleeps = measured_async(job, async || aqueduct::time::Timer::after(BRIEFLY).await);
            spawn(sleeps).join().map_err(io::Error::other)
        },
        ("arm-cancel-among", "aqueduct-async") => {
            |job| spawn(arm_cancel_among(job.ops)).join().map_err(io::Error::other)
        }
        ("read-write", "aqueduct-go" | "aqueduct-serve") => read_write,
        ("read-write", "aqueduct-async") => |job| spawn(read_write_async(job.clone())).wait_here(),
        _ => return None,
    };
    let runtime = aqueduct::Runtime::builder().workers(job.workers).build().expect("a runtime");
    let job = job.clone();
    Some(runtime.go(move || work(&job)).join().expect("the workload").expect("the workload"))
}

trait WaitHere {
    fn wait_here(self) -> io::Result<Sample>;
}

impl WaitHere for aqueduct::JoinHandle<io::Result<Sample>> {
    fn wait_here(self) -> io::Result<Sample> {
        self.join().map_err(io::Error::other)?
    }
}

fn measured(job: &Job, mut once: impl FnMut()) -> Sample {
    (0..job.warm).for_each(|_| once());
    let meter = Meter::start();
    (0..job.ops).for_each(|_| once());
    meter.stop(job.ops, vec![])
}

async fn measured_async<F: Future<Output = ()>>(job: Job, mut once: impl FnMut() -> F) -> Sample {
    for _ in 0..job.warm {
        once().await;
    }
    let meter = Meter::start();
    for _ in 0..job.ops {
        once().await;
    }
    meter.stop(job.ops, vec![])
}

/// How often a timer is armed and cancelled, however many others there are.
const ARMED_AND_CANCELLED: u64 = 200_000;

async fn arm_cancel_among(others: u64) -> Sample {
    // Deadlines like those of connections: some seconds from here, each its own.
    let far = |i: u64| {
        aqueduct::time::Timer::after(FAR + Duration::from_nanos(i.wrapping_mul(7_919) % 1_000_000_007))
    };
    let mut armed: Vec<_> = (0..others).map(|i| Box::pin(far(i))).collect();
    for timer in &mut armed {
        arm(timer.as_mut()).await;
    }
    let meter = Meter::start();
    for i in 0..ARMED_AND_CANCELLED {
        arm(pin!(far(i))).await;
    }
    let sample = meter.stop(ARMED_AND_CANCELLED, vec![]);
    drop(armed);
    sample
}

async fn arm(mut timer: Pin<&mut aqueduct::time::Timer>) {
    poll_fn(|cx| {
        assert!(timer.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

fn listener() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The client is in Go style; the other side echoes in Go style too, or by `serve`.
fn read_write(job: &Job) -> io::Result<Sample> {
    use std::io::{Read, Write};
    let (listener, address) = listener()?;
    if job.runtime == "aqueduct-serve" {
        // It goes on until this process ends.
        std::mem::forget(aqueduct::net::serve(listener, |conn| {
            let mut buffer = aqueduct::io::buffer();
            let n = conn.read(&mut buffer)?;
            conn.write_all(&buffer[..n])
        }));
    } else {
        drop(go(move || -> io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut message = [0; 64];
            loop {
                stream.read_exact(&mut message)?;
                stream.write_all(&message)?;
            }
        }));
    }
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut reply = [0; 64];
    Ok(measured(job, || {
        stream.write_all(&[7; 64]).expect("the echo is there");
        stream.read_exact(&mut reply).expect("the echo is there");
        assert_eq!(reply, [7; 64]);
    }))
}

async fn read_write_async(job: Job) -> io::Result<Sample> {
    use futures::io::{AsyncReadExt, AsyncWriteExt};
    let (listener, address) = listener()?;
    drop(spawn(async move {
        let (mut stream, _) = listener.accept_async().await?;
        let mut message = [0; 64];
        let error = loop {
            if let Err(error) = stream.read_exact(&mut message).await {
                break error;
            }
            if let Err(error) = stream.write_all(&message).await {
                break error;
            }
        };
        Err::<(), _>(error)
    }));
    let mut stream = TcpStream::connect_async(address).await?;
    stream.set_nodelay(true)?;
    let mut reply = [0; 64];
    for _ in 0..job.warm {
        exchange(&mut stream, &mut reply).await?;
    }
    let meter = Meter::start();
    for _ in 0..job.ops {
        exchange(&mut stream, &mut reply).await?;
    }
    return Ok(meter.stop(job.ops, vec![]));

    async fn exchange(stream: &mut TcpStream, reply: &mut [u8; 64]) -> io::Result<()> {
        stream.write_all(&[7; 64]).await?;
        stream.read_exact(reply).await?;
        assert_eq!(*reply, [7; 64]);
        Ok(())
    }
}
