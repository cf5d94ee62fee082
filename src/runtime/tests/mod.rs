//! White-box tests.

#[cfg(not(any(loom, shuttle)))]
mod homes;
#[cfg(loom)]
mod loom_gate;
#[cfg(loom)]
mod loom_inbox;
#[cfg(loom)]
mod loom_record;
#[cfg(loom)]
mod loom_run_queue;
#[cfg(loom)]
mod loom_search;
#[cfg(loom)]
mod loom_sentinel;
#[cfg(loom)]
mod loom_sleeper;
#[cfg(not(any(loom, shuttle)))]
mod ready;
#[cfg(shuttle)]
mod shuttle_workers;

/// After something was given to a worker: what `Home::wake_if_sleeping` does.
#[cfg(any(loom, shuttle))]
fn wake_if_sleeping(sleeper: &super::idle::Sleeper, poller: &crate::model::Poller) {
    if sleeper.claim_wake() {
        poller.notify();
    }
}
