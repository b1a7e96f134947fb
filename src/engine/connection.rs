//! A connection: the one task that reads, drives the protocol, writes and ends it.
//!
//! A hand-written future, so that an idle connection costs as little memory as its state. A turn carries out orders,
//! reads what one `recv` brings, routes it, and flushes the outbox once. All connections of a worker read into one
//! buffer that belongs to the worker's thread.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Sleep;

use super::Shared;
use super::close;
use super::events::{Event, Interest};
use super::frame::{self, Message, Opcode, Span, Walker};
use super::handle::{Handle, Orders};
use super::live::Live;
use super::protocol::{Protocol, Step};
use super::router;
use super::socket::Socket;
use super::worker::{self, Key, Turn, yield_turn};
use super::writer::Flushed;

thread_local! {
    /// What `recv` reads into.
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// What tungstenite answers is gathered here before it goes to the outbox.
    static ANSWER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Bytes of answers to pings that may wait beyond the outbox' limit.
const MAX_ANSWERS: usize = 64 * 1024;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Messages flow.
    Open,
    /// The peer broke the rules. No more is read; JavaScript may still answer what came before.
    Failing,
    /// Our close frame is out or on its way; the peer's is awaited.
    Closing,
    /// Nothing more will be said. What waits is flushed, then our direction is ended; the peer's bytes are
    /// read and dropped until it ends its own, so that no reset overtakes our last frame.
    Draining,
    /// Both close frames were exchanged: flush, and end.
    Flushing,
    /// Our direction is ended; the peer's end is awaited.
    HalfClosed,
    /// Over.
    Over,
}

/// Why the connection ended, as told to JavaScript.
#[derive(Debug)]
struct End {
    code: u16,
    reason: Box<str>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    handle: Arc<Handle>,
    socket: Arc<Socket>,
    key: Key,
    expires_at: Option<u64>,
    walker: Walker,
    protocol: Option<Protocol>,
    phase: Phase,
    /// What was read and not yet taken in: frames that came with the handshake, and what was too much for a turn.
    unread: Option<Box<[u8]>>,
    end: Option<Box<End>>,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Its beginning was told, so its end has to be.
    announced: bool,
    _live: Live,
}

impl Connection {
    /// Takes over a socket. To be called on the worker that will run it. `first` are bytes that the client sent
    /// after its handshake.
    pub(super) fn new(
        shared: Arc<Shared>,
        handle: Arc<Handle>,
        socket: Socket,
        first: Vec<u8>,
        expires_at: Option<u64>,
        live: Live,
    ) -> Self {
        let socket = Arc::new(socket);
        let key = worker::adopt(&handle, &socket, expires_at);
        Connection {
            shared,
            handle,
            socket,
            key,
            expires_at,
            walker: Walker::default(),
            protocol: None,
            phase: Phase::Open,
            unread: (!first.is_empty()).then(|| first.into_boxed_slice()),
            end: None,
            deadline: None,
            announced: false,
            _live: live,
        }
    }

    /// Writes the handshake's answer, before anything else goes out.
    ///
    /// # Errors
    /// What the socket says.
    pub(super) async fn answer(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// Notes that the connection's beginning was told to the embedder.
    pub(super) fn announced(&mut self) {
        self.announced = true;
        self.counters().opened.add(1);
    }

    /// Stops taking and giving messages. What the end is told to be is what comes first.
    fn leave(&mut self, code: u16, reason: &str) {
        self.end.get_or_insert_with(|| Box::new(End { code, reason: reason.into() }));
        if self.handle.shut() {
            self.shared.withdraw(&self.handle);
        }
    }

    fn set_deadline(&mut self) {
        self.deadline = Some(Box::pin(tokio::time::sleep(self.shared.config.limits.close_timeout)));
    }

    /// Begins the close handshake from our side.
    fn begin_close(&mut self, code: u16, reason: &str) {
        if self.phase != Phase::Open {
            return;
        }
        self.leave(code, reason);
        self.say_close(code, reason);
        self.phase = Phase::Closing;
        self.set_deadline();
    }

    fn say_close(&mut self, code: u16, reason: &str) {
        let max_payload = self.shared.config.limits.max_payload;
        let protocol = self.protocol.get_or_insert_with(|| Protocol::borrow(max_payload));
        ANSWER.with_borrow_mut(|answer| {
            answer.clear();
            protocol.close(code, reason, answer);
            if !answer.is_empty() {
                self.handle.push_control(answer);
            }
        });
    }

    /// The peer broke the rules (RFC 6455, section 7.1.7: fail the connection). What it said before is answered
    /// first: if JavaScript has yet to deal with messages, the end waits for that.
    fn fail(&mut self, code: u16, reason: &str) {
        if self.phase == Phase::Open && self.shared.events.must_settle(&self.handle) {
            self.end = Some(Box::new(End { code, reason: reason.into() }));
            self.phase = Phase::Failing;
            self.set_deadline();
            return;
        }
        self.fail_now(code, reason);
    }

    /// JavaScript has dealt with what came before the violation, or took too long.
    fn fail_at_last(&mut self) {
        if self.phase == Phase::Failing
            && let Some(End { code, reason }) = self.end.take().map(|end| *end)
        {
            self.fail_now(code, &reason);
        }
    }

    fn fail_now(&mut self, code: u16, reason: &str) {
        self.leave(code, reason);
        self.say_close(code, reason);
        self.phase = Phase::Draining;
        self.set_deadline();
    }

    fn obey(&mut self, orders: Orders) {
        self.handle.done(orders);
        if orders.settled() || orders.dead() || orders.slow() || orders.close() {
            self.fail_at_last();
        }
        if orders.dead() && self.phase == Phase::Open {
            // The frame is said for the record; nobody is likely to read it, so nothing is waited for.
            self.leave(close::HEARTBEAT, "no answer to ping");
            self.say_close(close::HEARTBEAT, "no answer to ping");
            self.phase = Phase::Flushing;
            if self.socket.is_bridge() {
                self.set_deadline();
            } else {
                self.deadline = Some(Box::pin(tokio::time::sleep(std::time::Duration::ZERO)));
            }
            return;
        }
        if orders.slow() && self.phase == Phase::Open {
            self.leave(close::SLOW_CONSUMER, "too slow");
            // What the kernel has room for is no part of what is too much.
            self.handle.writer().flush(&self.socket, self.counters());
            let dropped = self.handle.writer().cut();
            self.counters().messages_dropped.add(dropped.messages);
            if self.handle.is_seen() || self.shared.events.wants(Interest::SLOW) {
                self.handle.mark_seen();
                self.shared.events.push(Event::Slow { handle: self.handle.clone(), dropped });
            }
            self.say_close(close::SLOW_CONSUMER, "too slow");
            self.phase = Phase::Closing;
            self.set_deadline();
        }
        if orders.close()
            && let Some(request) = self.handle.take_close()
        {
            self.begin_close(request.code, &request.reason);
        }
    }

    fn counters(&self) -> &super::stats::WorkerCounters {
        &self.handle.mailbox().counters
    }

    /// The end, now. With `reset`, what the kernel still holds for the peer is thrown away.
    fn over(&mut self, reset: bool) {
        if reset {
            self.socket.reset_on_drop();
        }
        self.phase = Phase::Over;
    }

    /// The socket failed or ended under us.
    fn lost(&mut self) {
        self.leave(close::ABNORMAL, "");
        self.over(false);
    }

    /// The peer ended its direction. What it said before is still answered, in case that it reads on.
    fn ended(&mut self) {
        self.leave(close::ABNORMAL, "");
        if self.phase == Phase::HalfClosed {
            self.over(false);
            return;
        }
        self.phase = Phase::Flushing;
        if self.deadline.is_none() {
            self.set_deadline();
        }
    }

    /// Reads and routes what is there. Gives up after one full buffer, or a turn's work, so that others get their turn.
    fn read(&mut self, cx: &mut Context<'_>) {
        loop {
            match self.phase {
                Phase::Failing | Phase::Flushing | Phase::Over => return,
                Phase::Open if self.handle.is_paused() || self.shared.events.must_pause(&self.handle) => {
                    return;
                }
                _ => {}
            }
            if let Some(mut unread) = self.unread.take() {
                self.take_in(&mut unread);
                if self.unread.is_some() {
                    return yield_turn(cx);
                }
                continue;
            }
            let read_on = READ.with_borrow_mut(|buffer| {
                if buffer.is_empty() {
                    buffer.resize(self.shared.config.limits.read_buffer_bytes, 0);
                }
                match self.socket.poll_read(cx, buffer) {
                    Poll::Pending => false,
                    Poll::Ready(Ok(0)) => {
                        self.ended();
                        false
                    }
                    Poll::Ready(Ok(n)) => {
                        self.handle.mark_alive();
                        self.take_in(&mut buffer[..n]);
                        let full = n == buffer.len() || self.unread.is_some();
                        if full {
                            yield_turn(cx);
                        }
                        // Less than a full buffer: the next call only asks to be woken.
                        !full
                    }
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => true,
                    Poll::Ready(Err(_)) => {
                        self.lost();
                        false
                    }
                }
            });
            if !read_on {
                return;
            }
        }
    }

    /// Routes bytes that were read, as many as a turn has time for.
    fn take_in(&mut self, bytes: &mut [u8]) {
        let max_payload = self.shared.config.limits.max_payload;
        let turn = Turn::begin();
        let mut at = 0;
        while at < bytes.len() && matches!(self.phase, Phase::Open | Phase::Closing) {
            if turn.is_over() {
                self.unread = Some(bytes[at..].into());
                return;
            }
            match self.walker.next(&bytes[at..], max_payload) {
                Span::Whole { opcode, head_len, len, mask } if self.protocol.is_none() => {
                    let payload = &mut bytes[at + head_len..at + len];
                    if opcode != Opcode::Pong {
                        frame::unmask(payload, mask);
                        self.plain(opcode, payload);
                    }
                    at += len;
                }
                Span::Whole { len, .. } => {
                    self.opaque(&bytes[at..at + len]);
                    at += len;
                }
                Span::Opaque(len) => {
                    self.opaque(&bytes[at..at + len]);
                    at += len;
                }
            }
        }
    }

    fn plain(&mut self, opcode: Opcode, payload: &[u8]) {
        if opcode == Opcode::Binary {
            router::on_message(&self.shared, &self.handle, Message::Binary(payload));
            return;
        }
        match simdutf8::basic::from_utf8(payload) {
            Ok(text) => router::on_message(&self.shared, &self.handle, Message::Text(text)),
            Err(_) => self.fail(close::BAD_UTF8, "invalid UTF-8"),
        }
    }

    /// Lets tungstenite see bytes.
    fn opaque(&mut self, mut bytes: &[u8]) {
        let max_payload = self.shared.config.limits.max_payload;
        let mut protocol = self.protocol.take().unwrap_or_else(|| Protocol::borrow(max_payload));
        let mut answer = ANSWER.take();
        answer.clear();
        let step = loop {
            match protocol.feed(&mut bytes, &mut answer) {
                Step::Text(text) => self.message(Message::Text(text.as_str())),
                Step::Binary(data) => self.message(Message::Binary(&data)),
                Step::PeerCloses { code, reason } => self.leave(code, &reason),
                step => break step,
            }
        };
        if !answer.is_empty() {
            self.handle.push_control(&answer);
            // A flood of pings whose answers nobody reads.
            if self.handle.buffered() > self.shared.config.limits.outbox_bytes + MAX_ANSWERS {
                self.handle.declare_slow();
            }
        }
        ANSWER.set(answer);
        match step {
            Step::Closed => {
                self.phase = Phase::Flushing;
                self.set_deadline();
            }
            Step::Broken { code, reason } => {
                self.protocol = Some(protocol);
                self.fail(code, reason);
            }
            _ if self.phase == Phase::Open && self.walker.at_message_end() => protocol.give_back(),
            _ => self.protocol = Some(protocol),
        }
    }

    fn message(&mut self, message: Message<'_>) {
        if self.phase == Phase::Open && self.handle.is_open() {
            router::on_message(&self.shared, &self.handle, message);
        } else {
            self.counters().messages_after_close.add(1);
        }
    }

    /// Writes what waits. False if the kernel takes no more now.
    fn flush(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match self.handle.writer().flush(&self.socket, self.counters()) {
                Flushed::Done => return true,
                Flushed::More => {
                    yield_turn(cx);
                    return false;
                }
                Flushed::Blocked => match self.socket.poll_write_ready(cx) {
                    Poll::Ready(Ok(())) => self.handle.writer().unblock(),
                    Poll::Ready(Err(_)) => break,
                    Poll::Pending => return false,
                },
                Flushed::Lost => break,
            }
        }
        self.lost();
        true
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let orders = this.handle.enter(cx.waker());
        if !orders.is_empty() {
            this.obey(orders);
        }
        if this.phase != Phase::Over {
            this.read(cx);
        }
        if orders.lost() && this.phase != Phase::Over {
            // After the read: what the peer said before it left has arrived all the same.
            this.lost();
        }
        let flushed = this.phase == Phase::Over
            || (this.flush(cx)
                && (matches!(this.phase, Phase::Open | Phase::Failing) || this.socket.poll_passed_on(cx)));
        if flushed && matches!(this.phase, Phase::Flushing | Phase::Draining) {
            this.end_writing(cx);
        }
        if let Some(deadline) = &mut this.deadline
            && this.phase != Phase::Over
            && deadline.as_mut().poll(cx).is_ready()
        {
            if this.phase == Phase::Failing {
                this.fail_at_last();
                cx.waker().wake_by_ref();
            } else {
                this.over(!flushed);
            }
        }
        this.handle.leave();
        if this.phase == Phase::Over { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Connection {
    /// Everything is said.
    fn end_writing(&mut self, cx: &mut Context<'_>) {
        self.socket.shutdown();
        if self.phase == Phase::Flushing {
            self.over(false);
        } else {
            self.phase = Phase::HalfClosed;
            // Asks to be woken for what the peer still sends.
            self.read(cx);
        }
    }
}

impl Drop for Connection {
    /// However the task ended, also when its worker was stopped: the registry forgets the connection, what
    /// was not sent is counted, and who holds an object for it is told.
    fn drop(&mut self) {
        self.handle.leave();
        self.leave(close::ABNORMAL, "");
        worker::release(self.key, self.expires_at);
        self.counters().messages_dropped.add(self.handle.writer().abandon());
        let End { code, reason } =
            self.end.take().map_or(End { code: close::ABNORMAL, reason: Box::default() }, |end| *end);
        if self.announced {
            self.shared.counters.closed(code);
        }
        // Who looked it up may hold an object for a connection whose 101 could not be written.
        if self.handle.is_seen() || (self.announced && self.shared.events.wants(Interest::DISCONNECT)) {
            self.shared.events.push(Event::Close { handle: self.handle.clone(), code, reason });
        }
    }
}
