//! The end of an engine: at once, or politely.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::info;

use super::{Engine, Inner};
use crate::events::Event;
use crate::worker::handle::Handle;
use crate::worker::thread::WorkerThread;

impl Drop for Engine {
    fn drop(&mut self) {
        self.abort();
    }
}

impl Engine {
    /// Closes everything: new upgrades are refused, handshakes under way get a 503, connections are closed with
    /// `code`, spread over `drain`, and have `limits.close_timeout` to answer. Then what is left is cut off and
    /// the threads end. [`Event::Closed`] comes last. Only the first call does anything.
    ///
    /// With a `drain` messages are published, and questions answered, until the last connection is gone or cut off;
    /// without one, no more from here on.
    pub fn shutdown(&self, drain: Duration, code: u16, reason: &str) {
        if self.inner.shutting_down.swap(true, Ordering::AcqRel) {
            return;
        }
        self.inner.over.store(drain.is_zero(), Ordering::Release);
        let _entered = self.shared().span.enter();
        info!(code, ?drain, "shutdown begins");
        self.shared().closing.send_replace(true);
        let inner = self.inner.clone();
        let reason: Box<str> = reason.into();
        let work = move || inner.wind_down(drain, code, &reason);
        let thread = std::thread::Builder::new().name("actory-ws-close".into()).spawn(work);
        if thread.is_err() {
            self.abort();
            self.shared().events.push(Event::Closed);
        }
    }

    /// Ends everything at once. Blocks until the threads have ended.
    pub fn abort(&self) {
        self.inner.shutting_down.store(true, Ordering::Release);
        self.inner.over.store(true, Ordering::Release);
        self.inner.stop_workers();
    }
}

impl Inner {
    fn wind_down(&self, drain: Duration, code: u16, reason: &str) {
        let shared = &self.shared;
        let _entered = shared.span.enter();
        let begin = Instant::now();
        let connections: Vec<Arc<Handle>> =
            shared.registry.everyone().iter().flat_map(|group| group.snapshot()).collect();
        let count = connections.len() as u32;
        for (index, handle) in connections.into_iter().enumerate() {
            let due = drain.mul_f64(index as f64 / f64::from(count));
            // In steps, so that many connections don't each cost a sleep, and stragglers end the wait.
            if let Some(pause) = due.checked_sub(begin.elapsed())
                && pause > Duration::from_millis(1)
                && shared.limiter.wait_until_empty(Instant::now() + pause)
            {
                break;
            }
            handle.close(code, reason);
        }
        // A handshake that was past the point of refusal may have become a connection meanwhile.
        let deadline = Instant::now() + shared.config.limits.close_timeout + Duration::from_millis(250);
        while !shared.limiter.wait_until_empty((Instant::now() + Duration::from_millis(50)).min(deadline))
            && Instant::now() < deadline
        {
            shared.registry.everyone().iter().for_each(|group| {
                group.snapshot().iter().for_each(|handle| handle.close(code, reason));
            });
        }
        self.over.store(true, Ordering::Release);
        info!(left = shared.limiter.count(), "connections closed");
        shared.broker.close(shared.config.limits.close_timeout);
        info!("broker closed");
        self.stop_workers();
        shared.events.push(Event::Closed);
    }

    /// Tasks that are left are dropped with their worker, which ends their sockets.
    fn stop_workers(&self) {
        let _entered = self.shared.span.enter();
        let mut workers = self.workers.lock();
        workers.iter_mut().for_each(WorkerThread::stop);
        if !workers.is_empty() {
            info!("engine stopped");
        }
        workers.clear();
    }
}
