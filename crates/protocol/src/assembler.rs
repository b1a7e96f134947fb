//! The assembler: makes messages of what a client sends (RFC 6455, sections 5 and 8.1), and finds what breaks the rules.
//!
//! A frame that is whole and needs no state is answered as a [`Whole`], for its caller to use where it lies. The assembler keeps
//! the others: frames that a read cut, and fragments. Their bytes go into one buffer, unmasked, and text is checked as it comes.
//! A violation is found with the first byte that shows it: most of them show in a head. Messages of an [extension](Extension)
//! are decoded as they come, and checked as if they had come so.
//!
//! It has state only while a frame or a message is unfinished. That state is boxed; its owner keeps a few boxes for reuse
//! ([`Spares`]), and may keep something of its own with it (`T`).

use std::cell::Cell;
use std::time::Duration;

use codes::close;

use crate::extension::{Extension, NoExtension};
use crate::frame::{self, Head, MAX_CONTROL, MAX_HEAD, Message, Opcode, Whole};
use body::Body;

mod body;
#[cfg(test)]
mod tests;

/// Boxes that are kept for reuse, with buffers of up to this size.
const SPARE: usize = 16;
const SPARE_BUFFER: usize = 16 * 1024;
/// Bytes of a message that give its sender another second: 64 kbit/s. See [`Assembler::is_overdue`].
pub const BYTES_PER_SECOND: u64 = 8 * 1024;

/// Of a frame's first byte: those of extensions.
const RESERVED_BITS: u8 = 0x70;

/// Boxes for what is unfinished, and their buffers.
#[derive(Debug, Default)]
pub struct Spares<T>(
    #[allow(clippy::vec_box, reason = "the boxes are what is kept")] Vec<Box<Unfinished<T>>>,
);

impl<T: Default> Spares<T> {
    /// None.
    pub const NONE: Self = Spares(Vec::new());

    fn lend(&mut self) -> Box<Unfinished<T>> {
        self.0.pop().unwrap_or_default()
    }

    fn take_back(&mut self, mut unfinished: Box<Unfinished<T>>) {
        unfinished.reset();
        if self.0.len() < SPARE {
            self.0.push(unfinished);
        }
    }
}

/// A peer broke the rules: how its connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// 1002, 1007, 1008, 1009 or 1013.
    pub code: u16,
    /// The fault, in words.
    pub reason: &'static str,
}

impl Violation {
    /// Text that is not UTF-8.
    pub const BAD_UTF8: Violation = Violation { code: close::BAD_UTF8, reason: "invalid UTF-8" };
    /// A close frame with one byte of a code.
    pub const HALF_A_CODE: Violation = Violation::protocol("close frame with half a code");
    /// See [`Assembler::is_overdue`].
    pub const TOO_SLOW: Violation =
        Violation { code: close::POLICY, reason: "message not complete within limits.messageTimeoutMs" };
    /// A message that is larger than it may be.
    pub const TOO_LARGE: Violation =
        Violation { code: close::TOO_LARGE, reason: "message larger than limits.maxPayload" };
    /// All unfinished messages together hold too much.
    pub const NO_ROOM: Violation =
        Violation { code: close::TRY_AGAIN_LATER, reason: "unfinished messages hold too much memory" };

    pub(crate) const RESERVED: Violation = Violation::protocol("reserved bit set");

    const fn protocol(reason: &'static str) -> Violation {
        Violation { code: close::PROTOCOL, reason }
    }
}

/// The next bytes, by what they are.
#[derive(Debug)]
pub enum Step<T> {
    /// A frame that lies whole at their beginning, still masked.
    Whole(Whole),
    /// So many were taken. Nothing became complete.
    Taken(usize),
    /// So many were taken, and a message is complete.
    Message(usize, Assembled<T>),
    /// So many were taken, and a control frame that a read had cut is complete.
    Control(usize, Control),
    /// The peer broke the rules. Bytes behind that have no meaning.
    Broken(Violation),
}

/// A control frame, unmasked.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// Close, Ping or Pong.
    pub opcode: Opcode,
    bytes: [u8; MAX_CONTROL],
    len: usize,
}

impl Control {
    /// Its payload.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A complete message, in its buffer.
#[derive(Debug)]
pub struct Assembled<T>(Box<Unfinished<T>>);

impl<T: Default> Assembled<T> {
    /// The message.
    pub fn message(&self) -> Message<'_> {
        self.0.body.as_ref().map_or(Message::Binary(&[]), Body::message)
    }

    /// Gives the buffer back, for other messages.
    pub fn recycle(self, spares: &mut Spares<T>) {
        spares.take_back(self.0);
    }
}

/// See the module. `E` is the extension that was negotiated.
#[derive(Debug, Default)]
pub struct Assembler<T, E = NoExtension>(Option<Box<Unfinished<T>>>, E);

impl<T> Assembler<T> {
    /// Between messages, without an extension.
    pub const IDLE: Self = Assembler(None, NoExtension);
}

impl<T: Default, E: Extension> Assembler<T, E> {
    /// Between messages.
    pub const fn with(extension: E) -> Self {
        Assembler(None, extension)
    }

    /// True between messages, if no frame was begun either.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    /// The frame that the next bytes begin with, if it needs nothing of what follows: most do. Otherwise they are to be
    /// [taken](Assembler::take).
    #[inline]
    pub fn whole(&self, bytes: &[u8], max_payload: usize) -> Option<Whole> {
        if self.is_idle() { Whole::at(bytes, max_payload) } else { None }
    }

    /// Looks at the next bytes, of which there must be some. Takes what has to be kept; those bytes are no use afterwards.
    /// Messages of more than `max_payload` bytes are a violation as soon as a head announces one.
    // Kept apart, so that the loop over whole frames stays small.
    #[inline(never)]
    pub fn take(&mut self, bytes: &mut [u8], max_payload: usize, spares: &mut Spares<T>) -> Step<T> {
        let mut unfinished = self.0.take().unwrap_or_else(|| spares.lend());
        if unfinished.is_between_frames()
            && bytes[0] & 0x08 != 0
            && let Some(whole) = Whole::at(bytes, max_payload)
        {
            self.keep(unfinished, spares);
            return Step::Whole(whole);
        }
        let mut left = bytes;
        let before = left.len();
        let taken = |left: &mut [u8]| before - left.len();
        match unfinished.take(&mut left, max_payload, &mut self.1) {
            Ok(None) => {
                self.keep(unfinished, spares);
                Step::Taken(taken(left))
            }
            Ok(Some(Done::Message)) => Step::Message(taken(left), Assembled(unfinished)),
            Ok(Some(Done::Control(control))) => {
                self.keep(unfinished, spares);
                Step::Control(taken(left), control)
            }
            Err(violation) => {
                spares.take_back(unfinished);
                Step::Broken(violation)
            }
        }
    }

    fn keep(&mut self, unfinished: Box<Unfinished<T>>, spares: &mut Spares<T>) {
        if unfinished.is_idle() {
            spares.take_back(unfinished);
        } else {
            self.0 = Some(unfinished);
        }
    }

    /// Bytes of memory that the message holds which is unfinished, and what its owner keeps with it. None if idle.
    pub fn unfinished(&mut self) -> Option<(usize, &mut T)> {
        let unfinished = self.0.as_mut()?;
        Some((unfinished.body.as_ref().map_or(0, Body::capacity), &mut unfinished.kept))
    }

    /// The owner's part of the message that is unfinished.
    pub fn kept(&self) -> Option<&T> {
        self.0.as_ref().map(|unfinished| &unfinished.kept)
    }

    /// Forgets what is unfinished.
    pub fn clear(&mut self, spares: &mut Spares<T>) {
        if let Some(unfinished) = self.0.take() {
            spares.take_back(unfinished);
        }
    }

    /// True if a frame or message is unfinished for longer than `timeout`, and a second for each [`BYTES_PER_SECOND`] of it
    /// that came. Its clock starts with the first call that finds it, so that beginning one asks for no time.
    pub fn is_overdue(&self, now_ms: u64, timeout: Duration) -> bool {
        let Some(unfinished) = &self.0 else { return false };
        let since = unfinished.since.get().unwrap_or(now_ms);
        unfinished.since.set(Some(since));
        let came = unfinished.body.as_ref().map_or(0, Body::len) as u64;
        let permitted = timeout.as_millis() as u64 + came * 1000 / BYTES_PER_SECOND;
        now_ms.saturating_sub(since) > permitted
    }

    /// Stops that clock until the next call, after a time in which nobody read.
    pub fn restart_clock(&self) {
        if let Some(unfinished) = &self.0 {
            unfinished.since.set(None);
        }
    }

    /// True if its clock runs: the message was already unfinished at the last look.
    pub fn is_timed(&self) -> bool {
        self.0.as_ref().is_some_and(|unfinished| unfinished.since.get().is_some())
    }
}

/// A frame or a message that is not complete.
#[derive(Debug, Default)]
struct Unfinished<T> {
    /// Since when, in its owner's milliseconds.
    since: Cell<Option<u64>>,
    /// The message that was begun.
    body: Option<Body>,
    /// It is the extension's.
    is_encoded: bool,
    /// The frame that was begun, once its head is complete.
    frame: Option<Frame>,
    /// A head, as far as it came.
    head: [u8; MAX_HEAD],
    head_len: usize,
    /// A control frame, as far as it came.
    control: Vec<u8>,
    /// A buffer for the next message.
    spare: Vec<u8>,
    /// Its owner's.
    kept: T,
}

/// A frame whose payload is coming.
#[derive(Debug)]
struct Frame {
    /// None for a data frame.
    control: Option<Opcode>,
    is_final: bool,
    remaining: usize,
    /// Turned so that it begins at the next byte.
    mask: [u8; 4],
}

/// The part that became complete.
enum Done {
    Message,
    Control(Control),
}

/// None: more has to come.
type Found<T> = Result<Option<T>, Violation>;

impl<T: Default> Unfinished<T> {
    /// For another message.
    fn reset(&mut self) {
        self.since.set(None);
        self.kept = T::default();
        (self.frame, self.head_len) = (None, 0);
        self.control.clear();
        if let Some(body) = self.body.take() {
            self.spare = body.into_buffer();
        }
        if self.spare.capacity() > SPARE_BUFFER {
            self.spare = Vec::new();
        }
    }

    fn is_between_frames(&self) -> bool {
        self.frame.is_none() && self.head_len == 0
    }

    fn is_idle(&self) -> bool {
        self.is_between_frames() && self.body.is_none()
    }

    /// Takes bytes of one frame from the beginning of `bytes`.
    fn take(&mut self, bytes: &mut &mut [u8], max: usize, extension: &mut impl Extension) -> Found<Done> {
        if self.frame.is_none() {
            let Some(head) = self.take_head(bytes, max, extension)? else { return Ok(None) };
            self.frame = Some(self.begin(&head));
        }
        let Some(frame) = &mut self.frame else { return Ok(None) };
        let len = frame.remaining.min(bytes.len());
        let (payload, rest) = std::mem::take(bytes).split_at_mut(len);
        *bytes = rest;
        frame::unmask(payload, frame.mask);
        frame.mask.rotate_left(len % 4);
        frame.remaining -= len;
        match (frame.control, &mut self.body) {
            (None, Some(body)) if self.is_encoded => {
                let (room, mut decoded) = (max.saturating_sub(body.len()), Vec::new());
                extension.decode(payload, frame.is_final && frame.remaining == 0, room, &mut decoded)?;
                if decoded.len() > room {
                    return Err(Violation::TOO_LARGE);
                }
                body.extend(&decoded, max)?;
            }
            (None, Some(body)) => {
                let limit = if frame.is_final { body.len() + len + frame.remaining } else { max };
                body.extend(payload, limit)?;
            }
            _ => self.control.extend_from_slice(payload),
        }
        if frame.remaining > 0 {
            return Ok(None);
        }
        let (control, is_final) = (frame.control, frame.is_final);
        self.frame = None;
        match (control, &self.body) {
            (Some(opcode), _) => Ok(Some(Done::Control(self.take_control(opcode)))),
            (None, Some(body)) if is_final => body.finish().map(|()| Some(Done::Message)),
            _ => Ok(None),
        }
    }

    /// Takes bytes of a head. None: its end has not come yet.
    fn take_head(&mut self, bytes: &mut &mut [u8], max: usize, extension: &impl Extension) -> Found<Head> {
        let had = self.head_len;
        let known = (had + bytes.len()).min(MAX_HEAD);
        self.head[had..known].copy_from_slice(&bytes[..known - had]);
        let head = Head::parse(&self.head[..known]);
        let end = head.map_or(known, |head| head.head_len);
        self.check(&self.head[..end], max, extension)?;
        *bytes = &mut std::mem::take(bytes)[end - had..];
        self.head_len = if head.is_some() { 0 } else { known };
        Ok(head)
    }

    /// Checks that a head, or the beginning of one, may stand here.
    fn check(&self, head: &[u8], max: usize, extension: &impl Extension) -> Result<(), Violation> {
        let broken = |reason| Err(Violation::protocol(reason));
        let Some(&first) = head.first() else { return Ok(()) };
        let (is_final, is_control) = (first & 0x80 != 0, first & 0x08 != 0);
        let reserved = first & RESERVED_BITS;
        if reserved != 0 && !(matches!(first & 0x0F, 0x1 | 0x2) && extension.claims(reserved)) {
            return Err(Violation::RESERVED);
        }
        match first & 0x0F {
            0x0 if self.body.is_none() => return broken("continuation of nothing"),
            0x1 | 0x2 if self.body.is_some() => return broken("new message inside a fragmented one"),
            0x8..=0xA if !is_final => return broken("fragmented control frame"),
            0x0..=0x2 | 0x8..=0xA => {}
            _ => return broken("unknown opcode"),
        }
        let Some(&second) = head.get(1) else { return Ok(()) };
        if second & 0x80 == 0 {
            return broken("frame without mask");
        }
        if is_control && usize::from(second & 0x7F) > MAX_CONTROL {
            return broken("control frame too long");
        }
        if first & 0x0F == Opcode::Close as u8 && second & 0x7F == 1 {
            return Err(Violation::HALF_A_CODE);
        }
        let Some((payload_len, _)) = frame::payload_len(head) else { return Ok(()) };
        if payload_len >> 63 != 0 {
            return broken("payload length of 64 bits");
        }
        // The extension limits a message while it decodes it.
        let came = self.body.as_ref().filter(|_| !self.is_encoded).map_or(0, Body::len);
        let left = max.saturating_sub(came);
        if !is_control && payload_len > left as u64 {
            return Err(Violation::TOO_LARGE);
        }
        Ok(())
    }

    /// Begins a frame with a head that was checked.
    fn begin(&mut self, head: &Head) -> Frame {
        let control = match head.first & 0x0F {
            0x8 => Some(Opcode::Close),
            0x9 => Some(Opcode::Ping),
            0xA => Some(Opcode::Pong),
            _ => None,
        };
        if control.is_none() && self.body.is_none() {
            self.is_encoded = head.first & RESERVED_BITS != 0;
        }
        match head.first & 0x0F {
            0x1 => self.body = Some(Body::text(std::mem::take(&mut self.spare))),
            0x2 => self.body = Some(Body::binary(std::mem::take(&mut self.spare))),
            _ => {}
        }
        Frame {
            control,
            is_final: head.first & 0x80 != 0,
            remaining: head.payload_len as usize,
            mask: head.mask.unwrap_or_default(),
        }
    }

    fn take_control(&mut self, opcode: Opcode) -> Control {
        let len = self.control.len().min(MAX_CONTROL);
        let mut control = Control { opcode, bytes: [0; MAX_CONTROL], len };
        control.bytes[..len].copy_from_slice(&self.control[..len]);
        self.control.clear();
        control
    }
}
