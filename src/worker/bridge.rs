//! The stream bridge: a connection whose bytes Node carries, because there is no descriptor to take (TLS, a
//! `Duplex`, a platform without descriptors). Two bounded buffers with backpressure both ways.
//!
//! Node feeds what its socket reads and takes what the socket shall write; the connection sees
//! a socket like any other. All bytes here pass through Node's thread, so a blocked loop delays them. The heartbeat
//! must not take that for a client's silence: it asks Node along with each ping, and once more before it gives a client
//! up, and its clock stands still for as long as Node takes to answer.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::endpoint::MAX_SCRAP;

use super::handle::Handle;

/// Number of a bridge, for its carrier.
pub(crate) type BridgeId = u64;

/// The carrier of the bytes: Node.
pub trait Carrier: fmt::Debug + Send + Sync {
    /// There is something to do for a bridge. From any thread.
    fn signal(&self, id: BridgeId, signal: Signal);
}

/// Work that there is for a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It has bytes for its socket.
    Readable,
    /// It takes bytes from its socket again.
    Drain,
    /// It wants to know whether Node's loop turns.
    Question,
    /// It is done with its socket.
    End {
        /// The socket is to be reset.
        abort: bool,
        /// Its client was refused.
        refused: bool,
    },
}

/// Node is told to pause its socket from here on, and to resume when half is read.
const INBOUND_LIMIT: usize = 64 * 1024;
/// Bytes that wait for Node to take them; past it the send queue fills, with its own limit.
const OUTBOUND_LIMIT: usize = 64 * 1024;

/// An answer that comes within this time is one of a loop that turns. Its milliseconds don't count, or the heartbeat, which
/// looks at a connection once per interval, would find a dead one too young by a hair.
const PROMPT: Duration = Duration::from_millis(100);

/// A question to Node whether its loop turns, which it has yet to answer.
#[derive(Debug)]
struct Question {
    since: Instant,
    /// The connection, if it is to be ended should nothing have come from the client by then.
    suspect: Option<Arc<Handle>>,
}

/// See the module.
#[derive(Debug)]
pub struct Bridge {
    id: BridgeId,
    carrier: Weak<dyn Carrier>,
    state: Mutex<BridgeState>,
}

#[derive(Debug, Default)]
struct BridgeState {
    /// One buffer, whatever the size of the chunks: a client chooses that, and each of its own would cost an allocation.
    inbound: VecDeque<u8>,
    /// Node was told to pause.
    paused: bool,
    /// The socket's readable side ended.
    ended: bool,
    /// The socket failed or closed: nothing can be written any more.
    broken: bool,
    outbound: Vec<u8>,
    /// Node was told that there are bytes, and has not yet found none.
    readable_told: bool,
    /// Node writes the bytes it took; until it says so, no more are given.
    taken: bool,
    /// Our side has said its last.
    finished: bool,
    end_told: bool,
    abort: bool,
    /// The client was refused: Node passes on what it finds here, and closes within a moment.
    dismissed: bool,
    /// Bytes that came after our last ones, and were dropped.
    scrap: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
    question: Option<Question>,
    /// The time for which Node has kept questions waiting, in all.
    stood: Duration,
}

impl Question {
    fn late(&self) -> Duration {
        let waited = self.since.elapsed();
        if waited > PROMPT { waited } else { Duration::ZERO }
    }
}

/// The engine's end of a bridge: when it goes, Node is told that its socket is no longer needed, whatever has become of the
/// upgrade or the connection.
#[derive(Debug)]
pub struct Carried(Arc<Bridge>);

impl Carried {
    pub(super) fn new(bridge: Arc<Bridge>) -> Self {
        Carried(bridge)
    }
}

impl Deref for Carried {
    type Target = Bridge;

    fn deref(&self) -> &Bridge {
        &self.0
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.dropped();
    }
}

impl Bridge {
    /// A bridge over which `carrier` carries bytes.
    pub fn new(id: BridgeId, carrier: Weak<dyn Carrier>) -> Arc<Bridge> {
        Arc::new(Bridge { id, carrier, state: Mutex::default() })
    }

    /// See [`BridgeId`].
    pub fn id(&self) -> BridgeId {
        self.id
    }

    fn signal(&self, signal: Signal) {
        if let Some(carrier) = self.carrier.upgrade() {
            carrier.signal(self.id, signal);
        }
    }

    /// Bytes that Node's socket read. False: pause the socket until [`Signal::Drain`].
    pub fn feed(&self, bytes: &[u8]) -> bool {
        let (waker, more) = {
            let mut state = self.state.lock();
            if state.finished {
                state.scrap = state.scrap.saturating_add(bytes.len());
                return state.scrap < MAX_SCRAP;
            }
            if bytes.is_empty() {
                return true;
            }
            if let Some(question) = &mut state.question {
                question.suspect = None;
            }
            state.inbound.extend(bytes);
            state.paused = state.inbound.len() >= INBOUND_LIMIT;
            (state.reader.take(), !state.paused)
        };
        waker.into_iter().for_each(Waker::wake);
        more
    }

    /// The readable side of Node's socket ended.
    pub fn end(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.ended = true;
            state.reader.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Node's socket failed or closed.
    pub fn abort(&self) {
        let wakers = {
            let mut state = self.state.lock();
            state.ended = true;
            state.broken = true;
            state.question = None;
            [state.reader.take(), state.writer.take()]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// The next bytes for Node's socket. None if there are none now; [`Signal::Readable`] tells when there are.
    /// After some were given, [`Bridge::ack`] has to come before more are.
    pub fn take(&self) -> Option<Vec<u8>> {
        let (bytes, waker) = {
            let mut state = self.state.lock();
            if state.taken {
                return None;
            }
            if state.outbound.is_empty() {
                state.readable_told = false;
                drop(state);
                self.tell_end();
                return None;
            }
            state.taken = true;
            (std::mem::take(&mut state.outbound), state.writer.take())
        };
        waker.into_iter().for_each(Waker::wake);
        Some(bytes)
    }

    /// Node's socket has passed on what was taken.
    pub fn ack(&self) {
        self.state.lock().taken = false;
    }

    /// Asks Node whether its loop turns; for a `suspect`, also whether anything has come from the client.
    pub(super) fn ask(&self, suspect: Option<&Arc<Handle>>) {
        let tell = {
            let mut state = self.state.lock();
            if state.broken {
                return;
            }
            let tell = state.question.is_none();
            let question =
                state.question.get_or_insert_with(|| Question { since: Instant::now(), suspect: None });
            if suspect.is_some() {
                question.suspect = suspect.cloned();
            }
            tell
        };
        if tell {
            self.signal(Signal::Question);
        }
    }

    /// Node's loop has turned since [`Signal::Question`], and what its socket had was fed.
    pub fn answer(&self) {
        let suspect = {
            let mut state = self.state.lock();
            let Some(question) = state.question.take() else { return };
            let late = question.late();
            state.stood += late;
            question.suspect.filter(|_| late.is_zero())
        };
        if let Some(handle) = suspect {
            handle.declare_dead();
        }
    }

    /// The time in which Node has carried nothing, in all.
    pub(super) fn stood_still(&self) -> Duration {
        let state = self.state.lock();
        state.stood + state.question.as_ref().map_or(Duration::ZERO, Question::late)
    }

    fn tell_end(&self) {
        let (abort, refused) = {
            let mut state = self.state.lock();
            let is_said = state.abort || state.dismissed || state.outbound.is_empty();
            if !state.finished || state.end_told || !is_said {
                return;
            }
            state.end_told = true;
            (state.abort, state.dismissed)
        };
        self.signal(Signal::End { abort, refused });
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (read, drained) = {
            let mut state = self.state.lock();
            if state.inbound.is_empty() {
                return if state.ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
            }
            let read = state.inbound.len().min(buffer.len());
            let (front, back) = state.inbound.as_slices();
            let cut = front.len().min(read);
            buffer[..cut].copy_from_slice(&front[..cut]);
            buffer[cut..read].copy_from_slice(&back[..read - cut]);
            state.inbound.drain(..read);
            if state.inbound.is_empty() {
                // A quiet client's bridge holds no buffer.
                state.inbound = VecDeque::new();
            }
            let drained = state.paused && state.inbound.len() <= INBOUND_LIMIT / 2;
            state.paused &= !drained;
            (read, drained)
        };
        if drained {
            self.signal(Signal::Drain);
        }
        Ok(read)
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.state.lock().inbound.is_empty()
    }

    pub(super) fn has_left(&self) -> bool {
        let state = self.state.lock();
        state.ended || state.broken
    }

    /// Wakes the reader, who doesn't read now, when the peer has ended its direction. Or when more comes.
    pub(super) fn await_end(&self, cx: &mut Context<'_>) {
        let mut state = self.state.lock();
        if !state.ended {
            state.reader = Some(cx.waker().clone());
        }
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if !state.inbound.is_empty() || state.ended {
            return Poll::Ready(());
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let (written, tell) = {
            let mut state = self.state.lock();
            if state.broken || state.finished {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let room = OUTBOUND_LIMIT.saturating_sub(state.outbound.len());
            if room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let mut left = room;
            for slice in slices {
                let n = slice.len().min(left);
                state.outbound.extend_from_slice(&slice[..n]);
                left -= n;
            }
            let tell = room > left && !std::mem::replace(&mut state.readable_told, true);
            (room - left, tell)
        };
        if tell {
            self.signal(Signal::Readable);
        }
        Ok(written)
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.outbound.len() < OUTBOUND_LIMIT || state.broken || state.finished {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The error of [`Bridge::try_write`].
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            std::future::poll_fn(|cx| self.poll_write_ready(cx)).await;
            match self.try_write(&[IoSlice::new(bytes)]) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// True if Node has taken everything, or never will; if not, the connection is woken when it has.
    pub(super) fn poll_taken(&self, cx: &mut Context<'_>) -> bool {
        let mut state = self.state.lock();
        if state.outbound.is_empty() || state.broken {
            return true;
        }
        state.writer = Some(cx.waker().clone());
        false
    }

    /// Our side ends after what was written.
    pub(super) fn shutdown(&self) {
        self.state.lock().finished = true;
        self.tell_end();
    }

    /// The client was refused, and everything was said to it. Node sees to the rest by itself.
    pub(super) fn dismiss(&self) {
        {
            let mut state = self.state.lock();
            state.finished = true;
            state.dismissed = true;
        }
        self.tell_end();
    }

    pub(super) fn abort_on_drop(&self) {
        self.state.lock().abort = true;
    }

    /// See [`Carried`].
    fn dropped(&self) {
        {
            let mut state = self.state.lock();
            state.finished = true;
            state.inbound.clear();
            state.question = None;
            // Node never will take what it has not taken by now: its socket is not to wait for that.
            state.abort |= !state.outbound.is_empty() && !state.dismissed;
        }
        self.tell_end();
    }

    pub(super) async fn closed_by_peer(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.state.lock();
            if state.ended || state.broken {
                return Poll::Ready(());
            }
            state.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
