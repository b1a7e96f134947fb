//! Remote queues: what any thread posts, and one thread takes. One wake-up per batch, however much is posted.

use std::mem;
use std::task::Waker;

use super::sync::Mutex;

/// See the module. `M` is all the mail that waits.
#[derive(Debug, Default)]
pub(super) struct RemoteQueue<M>(Mutex<QueueState<M>>);

#[derive(Debug, Default)]
struct QueueState<M> {
    mail: M,
    /// Something is in `mail`.
    posted: bool,
    /// Its owner was woken and has not yet taken its mail.
    woken: bool,
    stop: bool,
    waker: Option<Waker>,
}

impl<M: Default> RemoteQueue<M> {
    /// Puts something in and wakes the owner, unless that is to be held back until [`RemoteQueue::let_out`].
    pub(super) fn post(&self, put: impl FnOnce(&mut M), is_held_back: impl FnOnce() -> bool) {
        self.wake_if(|state| {
            // Nobody reads it any more once it is stopped: its content would be kept for ever.
            if !state.stop {
                put(&mut state.mail);
                state.posted = true;
            }
            !state.stop && !state.woken && !is_held_back()
        });
    }

    /// Wakes the owner if mail was held back.
    pub(super) fn let_out(&self) {
        self.wake_if(|state| state.posted);
    }

    fn wake_if(&self, is_to_wake: impl FnOnce(&mut QueueState<M>) -> bool) {
        let waker = {
            let mut state = self.0.lock();
            if !is_to_wake(&mut state) || mem::replace(&mut state.woken, true) {
                return;
            }
            state.waker.clone()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// No more mail is taken, and the owner is to end.
    pub(super) fn stop(&self) {
        let stopped = QueueState { stop: true, ..QueueState::default() };
        // Let go of here, outside the lock: nobody will read it any more.
        let unread = mem::replace(&mut *self.0.lock(), stopped);
        unread.waker.into_iter().for_each(Waker::wake);
    }

    /// For the owner: takes what was posted; `waker` is woken when there is more. None: it is to end.
    pub(super) fn take(&self, waker: &Waker) -> Option<M> {
        let mut state = self.0.lock();
        if state.stop {
            return None;
        }
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        (state.posted, state.woken) = (false, false);
        Some(mem::take(&mut state.mail))
    }
}
