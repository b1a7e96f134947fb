//! Worker threads. Each runs a single-threaded runtime and owns the connections that were given to it.
//!
//! One runtime per thread, first in, first out, so that a busy connection can't starve another: tokio's shared
//! scheduler looks at its global queue only now and then, and its tail latency shows that. What other threads
//! push to a worker's connections goes through its inbox, which wakes it once per batch.

pub(crate) mod account;
pub(crate) mod application;
pub(crate) mod bridge;
pub(crate) mod connection;
pub(crate) mod connections;
pub(crate) mod counters;
pub(crate) mod group;
pub(crate) mod handle;
pub(crate) mod heartbeat;
pub(crate) mod inbox;
pub(crate) mod incomplete;
pub(crate) mod intake;
pub(crate) mod lag;
pub(crate) mod limiter;
pub(crate) mod limits;
mod mailbox;
pub(crate) mod memory;
pub(crate) mod outgoing;
#[cfg(unix)]
pub(crate) mod poller;
pub(crate) mod progress;
pub(crate) mod quota;
pub(crate) mod refusal;
pub(crate) mod registration;
pub(crate) mod relaying;
pub(crate) mod respite;
pub(crate) mod rooms;
pub(crate) mod run_queue;
pub(crate) mod scheduler;
pub(crate) mod send_queue;
pub(crate) mod shared_buffer;
pub(crate) mod socket;
mod sync;
pub(crate) mod turnstile;
pub(crate) mod writer;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Runtime};

use connections::Care;
use heartbeat::Heartbeat;
use inbox::Inbox;
use limits::Limits;
use memory::Memory;
#[cfg(unix)]
use poller::Poller;

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    /// See [`Inbox`].
    pub inbox: Arc<Inbox>,
    /// Spawns tasks on the worker.
    pub runtime: tokio::runtime::Handle,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread.
    ///
    /// # Errors
    /// What the system says when it gives no thread, or no epoll descriptor.
    pub fn start(
        engine: usize,
        index: usize,
        heartbeat: Heartbeat,
        limits: Limits,
        memory: Arc<Memory>,
    ) -> io::Result<Worker> {
        let care = Care { heartbeat, message_timeout: limits.message_timeout };
        let inbox = Arc::new(Inbox::new(engine, memory, limits));
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name(format!("actory-ws-{index}")).spawn({
            let inbox = inbox.clone();
            #[cfg(unix)]
            let poller = {
                let _entered = runtime.enter();
                Poller::new()?
            };
            move || {
                #[cfg(unix)]
                runtime.spawn(poller.live_here());
                run(&inbox, runtime, care);
            }
        })?;
        Ok(Worker { inbox, runtime: handle, thread: Some(thread) })
    }

    /// Ends the thread, and with it every task on it, and waits for it. Called twice, does nothing more.
    pub fn stop(&mut self) {
        self.inbox.stop();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
        if let Some(intake) = self.inbox.intake() {
            intake.disband();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(inbox: &Arc<Inbox>, runtime: Runtime, care: Care) {
    inbox.live_here();
    connections::set_up(inbox.clone(), care);
    runtime.spawn(scheduler::take_turns());
    runtime.spawn(scheduler::flush_pushed());
    runtime.spawn(turnstile::let_pass());
    runtime.block_on(std::future::poll_fn(|cx| inbox.poll(cx)));
    // On their own thread, where their table still is.
    connections::clear();
    // Tasks are dropped here too.
    drop(runtime);
}
