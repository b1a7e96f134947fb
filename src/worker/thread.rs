//! The thread of a worker.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Runtime};
use tracing::Span;

use super::connections::Care;
use super::heartbeat::Heartbeat;
use super::inbox::Inbox;
use super::limits::Limits;
use super::memory::Memory;
#[cfg(unix)]
use super::poller::Poller;
use super::{Worker, scheduler, turnstile};

/// A running worker.
#[derive(Debug)]
pub struct WorkerThread {
    /// See [`Inbox`].
    pub inbox: Arc<Inbox>,
    /// Spawns tasks on the worker.
    pub runtime: tokio::runtime::Handle,
    thread: Option<JoinHandle<()>>,
}

impl WorkerThread {
    /// Starts a thread of an engine that has this number. All that is told on it is told in `span`.
    ///
    /// # Errors
    /// The error of the system when it gives no thread, or no epoll descriptor.
    pub fn start(
        engine: usize,
        span: Span,
        index: usize,
        heartbeat: Heartbeat,
        limits: Limits,
        memory: Arc<Memory>,
    ) -> io::Result<WorkerThread> {
        let care = Care { heartbeat, message_timeout: limits.message_timeout };
        let inbox = Arc::new(Inbox::new(engine, memory, limits));
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let handle = runtime.handle().clone();
        inbox.set_runtime(Some(handle.clone()));
        let thread = std::thread::Builder::new().name(format!("actory-ws-{index}")).spawn({
            let inbox = inbox.clone();
            #[cfg(unix)]
            let poller = {
                let _entered = runtime.enter();
                Poller::new()?
            };
            move || {
                let _span = span.entered();
                let worker = Worker::new(inbox, care);
                #[cfg(unix)]
                runtime.spawn(poller.watch_for(&worker));
                run(&worker, runtime);
            }
        })?;
        Ok(WorkerThread { inbox, runtime: handle, thread: Some(thread) })
    }

    /// Ends the thread, and with it every task on it, and waits for it. Called twice, does nothing more.
    pub fn stop(&mut self) {
        self.inbox.stop();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
        self.inbox.set_runtime(None);
        if let Some(intake) = self.inbox.intake() {
            intake.disband();
        }
    }
}

impl Drop for WorkerThread {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(worker: &Rc<Worker>, runtime: Runtime) {
    let _entered = worker.enter();
    // Dropped before that, also in a panic: the tasks in it look for their worker.
    let runtime = runtime;
    runtime.spawn(scheduler::take_turns());
    runtime.spawn(scheduler::flush_pushed());
    runtime.spawn(turnstile::let_pass());
    runtime.block_on(std::future::poll_fn(|cx| worker.inbox.poll(cx, worker)));
    // While the thread is their worker. Tasks are dropped here too.
    worker.connections.clear();
    drop(runtime);
}
