//! The limiter: counts sockets by what they are for, and waits until there are none.
//!
//! Each socket holds a place from the hand-over until it is closed: one of `limits.maxConnections`, or one of the few for
//! clients that were refused. A socket that gets neither is closed on the spot, so the number of descriptors is bounded.
//! Clients that have left hold their seats until what they sent is dealt with. They hold a quarter at most where seats run short.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// Most refused clients that may linger at a time. At most a quarter of `limits.maxConnections` do.
pub(crate) const MAX_LINGERERS: usize = 64;

/// The count. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Limiter(Arc<LimiterCounts>);

#[derive(Debug)]
struct LimiterCounts {
    /// Handshakes, connections and lingerers.
    count: AtomicUsize,
    /// Handshakes and connections.
    seated: AtomicUsize,
    seats: usize,
    /// Connections among them whose clients have left.
    left: AtomicUsize,
    lingering: AtomicUsize,
    lock: Mutex<()>,
    empty: Condvar,
}

/// One who counts until dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    inner: Arc<LimiterCounts>,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Seat,
    /// A seat whose client has left.
    Left,
    Threshold,
}

fn take(places: &AtomicUsize, limit: usize) -> bool {
    let step = |taken| (taken < limit).then_some(taken + 1);
    places.fetch_update(Ordering::AcqRel, Ordering::Acquire, step).is_ok()
}

impl Limiter {
    /// A count with so many seats for handshakes and connections.
    pub(crate) fn new(seats: usize) -> Limiter {
        Limiter(Arc::new(LimiterCounts {
            count: AtomicUsize::new(0),
            seated: AtomicUsize::new(0),
            seats,
            left: AtomicUsize::new(0),
            lingering: AtomicUsize::new(0),
            lock: Mutex::default(),
            empty: Condvar::new(),
        }))
    }

    /// Counts a handshake, unless all seats are taken.
    pub(crate) fn enter(&self) -> Option<Permit> {
        take(&self.0.seated, self.0.seats).then(|| self.count_in(Standing::Seat))
    }

    /// Counts a client that was refused before it had a seat, unless too many linger, or the server is full.
    pub(crate) fn linger(&self) -> Option<Permit> {
        let is_full = self.0.seated.load(Ordering::Acquire) >= self.0.seats;
        (!is_full && self.0.take_threshold()).then(|| self.count_in(Standing::Threshold))
    }

    fn count_in(&self, standing: Standing) -> Permit {
        self.0.count.fetch_add(1, Ordering::AcqRel);
        Permit { inner: self.0.clone(), standing }
    }

    /// Their number.
    pub(crate) fn count(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }

    /// Blocks the calling thread until there are none, or until the deadline. True if there are none.
    pub(crate) fn wait_until_empty(&self, deadline: Instant) -> bool {
        let mut guard = self.0.lock.lock();
        while self.count() > 0 {
            if self.0.empty.wait_until(&mut guard, deadline).timed_out() {
                return self.count() == 0;
            }
        }
        true
    }
}

impl LimiterCounts {
    fn take_threshold(&self) -> bool {
        take(&self.lingering, MAX_LINGERERS.min(self.seats / 4))
    }

    fn leave(&self, standing: Standing) {
        let counts: &[&AtomicUsize] = match standing {
            Standing::Seat => &[&self.seated],
            Standing::Left => &[&self.left, &self.seated],
            Standing::Threshold => &[&self.lingering],
        };
        counts.iter().for_each(|count| _ = count.fetch_sub(1, Ordering::AcqRel));
    }
}

impl Permit {
    /// Gives the seat to whoever comes, and counts among those who linger. False, and the seat is kept, if too many do.
    pub(crate) fn linger(&mut self) -> bool {
        if self.standing == Standing::Seat && self.inner.take_threshold() {
            self.standing = Standing::Threshold;
            self.inner.seated.fetch_sub(1, Ordering::AcqRel);
        }
        self.standing == Standing::Threshold
    }

    /// Notes that its client has left. True if its seat is wanted: less than a quarter of all is free, and clients that have left
    /// hold more than a quarter.
    pub(crate) fn outstays(&mut self) -> bool {
        let LimiterCounts { seats, seated, left, .. } = &*self.inner;
        if self.standing == Standing::Seat {
            self.standing = Standing::Left;
            left.fetch_add(1, Ordering::AcqRel);
        }
        let quarter = (seats / 4).max(1);
        left.load(Ordering::Acquire) > quarter && seated.load(Ordering::Acquire) > seats - quarter
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.inner.leave(self.standing);
        if self.inner.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            drop(self.inner.lock.lock());
            self.inner.empty.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_seats_may_linger_and_not_more_than_the_most() {
        for (seats, most) in [(1, 0), (7, 1), (100, 25), (usize::MAX, MAX_LINGERERS)] {
            let limiter = Limiter::new(seats);
            let lingering: Vec<Permit> = std::iter::from_fn(|| limiter.linger()).take(1000).collect();
            assert_eq!((lingering.len(), limiter.count()), (most, most), "{seats}");
            drop(lingering);
            assert_eq!((limiter.count(), limiter.linger().is_some()), (0, most > 0));
        }
    }

    #[test]
    fn a_seat_whose_client_has_left_is_wanted_where_more_than_a_quarter_have_and_less_than_a_quarter_is_free()
    {
        for (seats, taken, stay) in [
            (1, 1, 1),
            (2, 2, 1),
            (8, 8, 2),
            (8, 7, 2),
            (8, 6, 6),
            (100, 100, 25),
            (100, 76, 25),
            (100, 75, 75),
        ] {
            let limiter = Limiter::new(seats);
            let mut seated: Vec<Permit> = std::iter::from_fn(|| limiter.enter()).take(taken).collect();
            let wanted: Vec<bool> = seated.iter_mut().map(Permit::outstays).collect();
            assert_eq!(wanted.iter().filter(|wanted| !**wanted).count(), stay, "{taken} of {seats}");
            assert!(wanted.is_sorted(), "the first may stay");
            drop(seated);
            assert_eq!(limiter.count(), 0);
            assert!(limiter.enter().is_some_and(|mut permit| !permit.outstays()), "all seats are free again");
        }
        assert!(Limiter::new(usize::MAX).enter().is_some_and(|mut permit| !permit.outstays()));
    }

    #[test]
    fn nobody_lingers_while_all_seats_are_taken() {
        let limiter = Limiter::new(4);
        let mut seated: Vec<Permit> = std::iter::from_fn(|| limiter.enter()).take(1000).collect();
        assert_eq!((seated.len(), limiter.linger().is_some()), (4, false));
        seated.pop();
        assert!(limiter.linger().is_some());
    }

    #[test]
    fn who_may_not_linger_keeps_its_seat() {
        let limiter = Limiter::new(4);
        let mut seated: Vec<Permit> = std::iter::from_fn(|| limiter.enter()).take(1000).collect();
        assert!(seated[0].linger());
        assert!(!seated[1].linger());
        let newcomer = limiter.enter();
        assert!(newcomer.is_some() && limiter.enter().is_none(), "one seat was given up");
        drop(seated);
        drop(newcomer);
        assert_eq!(limiter.count(), 0);
        assert_eq!(std::iter::from_fn(|| limiter.enter()).take(5).collect::<Vec<_>>().len(), 4);
    }
}
