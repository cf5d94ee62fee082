//! The workloads of the comparison, once for all runtimes, behind the traits that a runtime has to implement.

pub mod asynchronous;
pub mod blocking;
pub mod measure;
pub mod sample;
pub mod shapes;

pub use measure::{Extra, Sample};
pub use sample::Job;

/// [`Channel`](blocking::Channel) for a channel whose ends have the names and methods that most have.
#[macro_export]
macro_rules! blocking_channel {
    ($channel:ident, $module:path, $smallest:expr) => {
        const _: () = {
            use $module as module;

            impl $crate::blocking::Channel for $channel {
                type Tx = module::Sender<u64>;
                type Rx = module::Receiver<u64>;
                const SMALLEST: usize = $smallest;

                fn bounded(capacity: usize) -> (Self::Tx, Self::Rx) {
                    module::bounded(capacity)
                }
                #[inline]
                fn send(tx: &Self::Tx, value: u64) {
                    tx.send(value).expect("the receiver is there")
                }
                #[inline]
                fn recv(rx: &Self::Rx) -> Option<u64> {
                    rx.recv().ok()
                }
                fn share(rx: &Self::Rx) -> Self::Rx {
                    rx.clone()
                }
            }
        };
    };
}
