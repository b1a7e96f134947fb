//! The turnstile of a worker: handshakes whose token takes long to verify pass one by one. They are verified on a thread beside
//! the worker, which stands back for all others: a flood of tokens takes no time of open connections.
//!
//! Clients wait by address, and addresses take turns: a flood from one address delays no handshake from another.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;

use codes::error::Code;
use hashbrown::HashMap;
use tokio::sync::oneshot;

use super::Worker;

/// Most handshakes that wait at one worker: half a second of a core's time with the dearest keys.
pub(super) const MAX_WAITING: usize = 1024;

/// See the module.
#[derive(Default)]
pub(super) struct Turnstile {
    line: RefCell<TurnstileLine<oneshot::Sender<Pass>>>,
    /// The way to the thread beside the worker, once a handshake needed it. That thread ends with the worker.
    beside: RefCell<Option<mpsc::Sender<Work>>>,
}

/// The next one passes when it is dropped.
type Pass = oneshot::Sender<()>;

type Work = Box<dyn FnOnce() + Send>;

/// Does work for a handshake of this client's when its turn comes, to the end, also if nobody waits for it any more.
///
/// # Errors
/// `TooManyHandshakes`, if it can't be done now; `Internal`, if it panicked. With a reason.
pub(crate) async fn pass<T: Send + 'static>(
    remote: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, (Code, &'static str)> {
    let too_many = |why| (Code::TooManyHandshakes, why);
    let (sender, turn) = oneshot::channel();
    // Dropping the sender of who is turned away tells it.
    super::with(|worker| drop(worker.turnstile.line.borrow_mut().push(ClientNetwork::of(remote), sender)));
    let pass = turn.await.map_err(|_| too_many("too many tokens wait to be verified"))?;
    let (sender, done) = oneshot::channel();
    let work = move || {
        let _pass = pass;
        drop(sender.send(work()));
    };
    // The next handshake asks the system again.
    super::with(|worker| worker.turnstile.hand_over(Box::new(work)))
        .unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))
        .map_err(|_| too_many("there is no thread to verify tokens"))?;
    done.await.map_err(|_| (Code::Internal, "the token could not be verified"))
}

impl Turnstile {
    /// Has work done on the thread beside its worker, which is started if there is none yet.
    ///
    /// # Errors
    /// The error of the system when it gives no thread, and `BrokenPipe` if the thread is gone. The work is dropped.
    fn hand_over(&self, work: Work) -> io::Result<()> {
        let mut beside = self.beside.borrow_mut();
        let queue = match &*beside {
            Some(queue) => queue,
            None => beside.insert(start()?),
        };
        let sent = queue.send(work);
        if sent.is_err() {
            // It has ended, and the next handshake gets another.
            *beside = None;
        }
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

fn start() -> io::Result<mpsc::Sender<Work>> {
    let (queue, works) = mpsc::channel::<Work>();
    thread::Builder::new().name("actory-ws-tokens".into()).spawn(move || {
        stand_back();
        for work in works {
            // A fault of ours costs that handshake and no other. The panic's message says where.
            let done = catch_unwind(AssertUnwindSafe(work));
            let _ = done.map_err(|_| tracing::error!("a fault of ours ends a handshake"));
        }
    })?;
    Ok(queue)
}

/// Lets handshakes pass, for as long as the worker runs.
pub(super) async fn let_pass() {
    loop {
        let poll_pop =
            |worker: &Worker, cx: &mut Context<'_>| worker.turnstile.line.borrow_mut().poll_pop(cx);
        let next = poll_fn(|cx| super::with(|worker| poll_pop(worker, cx)).unwrap_or(Poll::Pending)).await;
        let (pass, passed) = oneshot::channel();
        // Not taken by one that has given up, which costs nothing.
        drop(next.send(pass));
        let _ = passed.await;
    }
}

/// The niceness of the thread beside a worker (Linux, setpriority(2)): a tenth of what others get where cores are short.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

fn stand_back() {
    // It holds for the calling thread. Elsewhere it would for the process.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICE);
}

/// The origin of a client. A client with IPv6 has all of its network's addresses, a /64 (RFC 4291 section 2.5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ClientNetwork {
    V4([u8; 4]),
    V6([u8; 8]),
    Unknown,
}

impl ClientNetwork {
    fn of(remote: &str) -> ClientNetwork {
        match remote.parse().map(|address: IpAddr| address.to_canonical()) {
            Ok(IpAddr::V4(address)) => ClientNetwork::V4(address.octets()),
            Ok(IpAddr::V6(address)) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                ClientNetwork::V6([a, b, c, d, e, f, g, h])
            }
            Err(_) => ClientNetwork::Unknown,
        }
    }
}

/// The waiting, by origin.
struct TurnstileLine<T> {
    waiting: HashMap<ClientNetwork, VecDeque<T>>,
    /// Those of the origins above, the next one first.
    order: VecDeque<ClientNetwork>,
    len: usize,
    idle: Option<Waker>,
}

impl<T> Default for TurnstileLine<T> {
    fn default() -> Self {
        TurnstileLine { waiting: HashMap::new(), order: VecDeque::new(), len: 0, idle: None }
    }
}

impl<T> TurnstileLine<T> {
    /// Puts one in line. If the line is full, returns the one that is turned away: the last of the origin that most wait of.
    fn push(&mut self, origin: ClientNetwork, one: T) -> Option<T> {
        let mut turned_away = None;
        if self.len == MAX_WAITING {
            let own = self.waiting.get(&origin).map_or(0, VecDeque::len);
            let longest = self.waiting.values_mut().max_by_key(|waiting| waiting.len());
            match longest.filter(|longest| longest.len() > own + 1) {
                Some(longest) => turned_away = longest.pop_back(),
                None => return Some(one),
            }
            self.len -= 1;
        }
        let waiting = self.waiting.entry(origin).or_default();
        if waiting.is_empty() {
            self.order.push_back(origin);
        }
        waiting.push_back(one);
        self.len += 1;
        if let Some(waker) = self.idle.take() {
            waker.wake();
        }
        turned_away
    }

    fn pop(&mut self) -> Option<T> {
        let origin = self.order.pop_front()?;
        let waiting = self.waiting.get_mut(&origin)?;
        let one = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(&origin);
        } else {
            self.order.push_back(origin);
        }
        self.len -= 1;
        one
    }

    fn poll_pop(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        match self.pop() {
            Some(one) => Poll::Ready(one),
            None => {
                self.waiting.shrink_to(0);
                self.order.shrink_to(0);
                self.idle = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const A: ClientNetwork = ClientNetwork::V4([10, 0, 0, 1]);
    const B: ClientNetwork = ClientNetwork::V4([10, 0, 0, 2]);

    fn drain(line: &mut TurnstileLine<usize>) -> Vec<usize> {
        std::iter::from_fn(|| line.pop()).collect()
    }

    #[test]
    fn work_that_nobody_waits_for_any_more_keeps_the_next_from_passing_until_it_is_done() {
        let worker = Worker::of_test();
        let _is_worker = worker.enter();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.spawn(let_pass());
        let (begun, begins) = oneshot::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let first = runtime.spawn(pass("10.0.0.1", move || {
            begun.send(()).unwrap();
            goes_on.recv().unwrap();
        }));
        runtime.block_on(begins).unwrap();
        first.abort();
        let second = runtime.spawn(pass("10.0.0.2", || ()));
        runtime.block_on(async {
            let _ = first.await;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        });
        assert!(worker.turnstile.line.borrow().len == 1);
        go_on.send(()).unwrap();
        assert_eq!(runtime.block_on(second).unwrap(), Ok(()));
    }

    #[test]
    fn a_panic_costs_one_handshake_and_no_other() {
        let worker = Worker::of_test();
        let _is_worker = worker.enter();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.spawn(let_pass());
        // Without a message of a panic.
        let fault = || std::panic::resume_unwind(Box::new(()));
        assert!(runtime.block_on(pass::<()>("10.0.0.1", fault)).is_err());
        assert_eq!(runtime.block_on(pass("10.0.0.1", || 1)), Ok(1));
    }

    #[test]
    fn addresses_take_turns_and_each_keeps_its_order() {
        let mut line = TurnstileLine::default();
        for (origin, one) in [(A, 1), (A, 2), (A, 3), (B, 4), (B, 5)] {
            assert_eq!(line.push(origin, one), None);
        }
        assert_eq!(drain(&mut line), [1, 4, 2, 5, 3]);
        assert!(line.waiting.is_empty() && line.order.is_empty() && line.len == 0);
    }

    #[test]
    fn a_full_line_turns_away_the_last_of_the_address_that_floods_it() {
        let mut line = TurnstileLine::default();
        (0..MAX_WAITING).for_each(|one| assert_eq!(line.push(A, one), None));
        assert_eq!(line.push(A, 5000), Some(5000));
        assert_eq!(line.push(B, 6000), Some(MAX_WAITING - 1));
        assert_eq!((line.pop(), line.pop()), (Some(0), Some(6000)));
        assert_eq!(drain(&mut line).len(), MAX_WAITING - 2);
    }

    #[test]
    fn a_line_that_is_full_of_single_clients_turns_newcomers_away() {
        let mut line = TurnstileLine::default();
        for one in 0..MAX_WAITING {
            assert_eq!(line.push(ClientNetwork::V6((one as u64).to_be_bytes()), one), None);
        }
        assert_eq!(line.push(A, 5000), Some(5000));
        assert_eq!(drain(&mut line), (0..MAX_WAITING).collect::<Vec<_>>());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        assert_eq!(ClientNetwork::of("2001:db8:1:2::1"), ClientNetwork::of("2001:db8:1:2:ffff::2"));
        assert_ne!(ClientNetwork::of("2001:db8:1:2::1"), ClientNetwork::of("2001:db8:1:3::1"));
        assert_eq!(ClientNetwork::of("::ffff:10.0.0.1"), A);
        assert_eq!(ClientNetwork::of("10.0.0.1"), A);
        for none in ["", "unix:", "localhost"] {
            assert_eq!(ClientNetwork::of(none), ClientNetwork::Unknown);
        }
    }
}
