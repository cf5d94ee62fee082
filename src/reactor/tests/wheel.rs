//! The wheel against a sorted map.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Wake;

use super::*;
use crate::random::Rng;
use crate::reactor::wheel::TimerKey;

/// A waker told apart by its address.
struct Tag;

impl Wake for Tag {
    fn wake(self: Arc<Self>) {}
}

/// The wheel, and what it should hold: timers by tick, and by age within a tick.
struct Pair {
    wheel: Wheel,
    model: BTreeMap<(u64, u64), (TimerKey, Arc<Tag>)>,
    now: u64,
    inserted: u64,
    fired: Vec<TimerKey>,
}

impl Pair {
    fn new() -> Pair {
        Pair { wheel: Wheel::new(), model: BTreeMap::new(), now: 0, inserted: 0, fired: Vec::new() }
    }

    fn insert(&mut self, tick: u64) {
        let tag = Arc::new(Tag);
        let key = self.wheel.insert(tick, Waker::from(tag.clone()));
        let tick = tick.clamp(self.now, LAST_TICK);
        self.model.insert((tick, self.inserted), (key, tag));
        self.inserted += 1;
    }

    fn cancel(&mut self, nth: usize) {
        let Some(&place) = self.model.keys().nth(nth) else {
            return;
        };
        let (key, tag) = self.model.remove(&place).unwrap();
        assert!(self.wheel.cancel(key).is_some());
        assert!(self.wheel.cancel(key).is_none());
        assert_eq!(Arc::strong_count(&tag), 1);
    }

    fn advance(&mut self, now: u64) {
        self.now = self.now.max(now.min(LAST_TICK));
        let mut wakes = VecDeque::new();
        self.wheel.expire(now, &mut wakes);
        let later = self.model.split_off(&(self.now + 1, 0));
        let due = std::mem::replace(&mut self.model, later);
        let due_tags: Vec<_> = due.values().map(|(_, tag)| Arc::as_ptr(tag).cast()).collect();
        let fired_tags: Vec<_> = wakes.iter().map(Waker::data).collect();
        assert_eq!(fired_tags, due_tags, "fired by {}", self.now);
        self.fired.extend(due.into_values().map(|(key, _)| key));
    }

    fn release_fired(&mut self) {
        for key in self.fired.drain(..) {
            assert_eq!(self.wheel.standing(key, None), Some(Standing::Fired));
            assert!(self.wheel.cancel(key).is_none(), "its waker is gone");
            assert_eq!(self.wheel.standing(key, None), None);
        }
    }

    fn check(&self) {
        let earliest = self.model.keys().next().map(|&(tick, _)| tick);
        let next = self.wheel.next_tick();
        assert_eq!(next.is_some(), earliest.is_some());
        assert!(next <= earliest, "{next:?} is later than {earliest:?}");
        assert_eq!(self.wheel.is_idle(), self.model.is_empty());
        assert_eq!(self.wheel.usage().0, self.model.len() + self.fired.len());
    }
}

/// A number with up to `bits` bits, small ones as likely as large ones.
fn skewed(rng: &Rng, bits: u32) -> u64 {
    let wide = u64::from(rng.next_u32()) << 32 | u64::from(rng.next_u32());
    wide >> (64 - bits + rng.below(bits)).min(63)
}

fn storm(rng: &Rng, steps: u32, jump_bits: u32) {
    let mut pair = Pair::new();
    for _ in 0..steps {
        match rng.below(10) {
            0..=4 => pair.insert(pair.now.saturating_add(skewed(rng, 50)).saturating_sub(2)),
            5..=6 => pair.cancel(rng.below(40) as usize),
            7 => pair.release_fired(),
            8 => pair.advance(pair.wheel.next_tick().unwrap_or(pair.now)),
            _ => pair.advance(pair.now + skewed(rng, jump_bits)),
        }
        pair.check();
    }
    pair.advance(u64::MAX);
    pair.release_fired();
    pair.check();
    assert_eq!(pair.wheel.usage().0, 0);
}

#[test]
fn agrees_with_a_sorted_map() {
    let rng = Rng::new();
    println!("{rng:?}");
    for _ in 0..200 {
        storm(&rng, 300, 8);
        storm(&rng, 300, 30);
    }
    storm(&rng, 300, 47);
}

#[test]
fn every_boundary_fires_on_its_tick() {
    for bits in 0..48 {
        for tick in [(1u64 << bits) - 1, 1 << bits, (1 << bits) + 1] {
            let mut pair = Pair::new();
            pair.insert(tick);
            assert_eq!(pair.wheel.next_tick(), Some(tick), "alone, so exact");
            if tick > 0 {
                pair.advance(tick - 1);
            }
            assert_eq!(pair.fired.len(), 0);
            pair.advance(tick);
            assert_eq!(pair.fired.len(), 1);
        }
    }
}

#[test]
fn what_is_past_fires_next() {
    let mut pair = Pair::new();
    pair.advance(1000);
    pair.insert(3);
    pair.insert(1000);
    assert_eq!(pair.wheel.next_tick(), Some(1000));
    pair.advance(1000);
    assert_eq!(pair.fired.len(), 2);
}

#[test]
fn the_clock_may_stand_still_or_step_back() {
    let mut pair = Pair::new();
    pair.insert(50);
    pair.advance(100);
    pair.insert(110);
    pair.advance(100);
    pair.advance(60);
    pair.check();
    pair.advance(110);
    assert_eq!(pair.fired.len(), 2);
}

#[test]
fn eviction_tells_the_timers() {
    let mut wheel = Wheel::new();
    let keys: Vec<_> = [5, 500, 5_000_000].map(|tick| wheel.insert(tick, Waker::noop().clone())).into();
    let mut wakes = VecDeque::new();
    wheel.expire(5, &mut wakes);
    wheel.evict(&mut wakes);
    assert_eq!(wakes.len(), 3);
    assert!(wheel.is_idle());
    let standings: Vec<_> = keys.iter().map(|&key| wheel.standing(key, None).unwrap()).collect();
    assert_eq!(standings, [Standing::Fired, Standing::Evicted, Standing::Evicted]);
    assert!(wheel.set_waker(keys[1], Waker::noop().clone()).is_some());
    assert!(keys.iter().all(|&key| wheel.cancel(key).is_none()));
    assert_eq!(wheel.usage().0, 0);
}

#[test]
fn a_key_of_an_earlier_timer_opens_nothing() {
    let mut wheel = Wheel::new();
    let earlier = wheel.insert(5, Waker::noop().clone());
    wheel.cancel(earlier);
    let present = wheel.insert(5, Waker::noop().clone());
    assert_eq!(wheel.standing(earlier, None), None);
    assert!(wheel.cancel(earlier).is_none());
    assert!(wheel.cancel(present).is_some());
}

#[test]
fn scattered_survivors_do_not_keep_the_rest() {
    let mut wheel = Wheel::new();
    let keys: Vec<_> = (0..100_000).map(|tick| wheel.insert(tick + 10, Waker::noop().clone())).collect();
    let peak = wheel.usage().1;
    for key in &keys[1000..] {
        wheel.cancel(*key);
    }
    let (live, capacity) = wheel.usage();
    assert_eq!(live, 1000);
    assert!(capacity < peak / 50, "{capacity} of {peak}");
    // New ones fill the gaps.
    let refill: Vec<_> = (0..100).map(|tick| wheel.insert(tick + 10, Waker::noop().clone())).collect();
    assert!(wheel.usage().1 <= capacity.max(1536));
    for key in keys[..1000].iter().chain(&refill) {
        wheel.cancel(*key);
    }
    assert!(wheel.usage().1 <= 256);
}
