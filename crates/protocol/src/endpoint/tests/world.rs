//! The world of an endpoint: a host without a socket, which holds the endpoint to its promises at every step.

use codes::close;

use super::super::*;

/// Limit of a message.
pub(super) const MAX: usize = 1 << 10;
pub(super) const PHASES: [Phase; 7] = [
    Phase::Open,
    Phase::Settling,
    Phase::Closing,
    Phase::Draining,
    Phase::Flushing,
    Phase::HalfClosed,
    Phase::Over,
];

/// Bytes and ends that there are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrives {
    Nothing,
    Message,
    Ping,
    /// The beginning of a message.
    Part,
    Close,
    BadClose,
    Violation,
    /// A message, and the peer's end behind it.
    MessageAndEnd,
    End,
    Failure,
}

pub(super) const ARRIVES: [Arrives; 10] = [
    Arrives::Nothing,
    Arrives::Message,
    Arrives::Ping,
    Arrives::Part,
    Arrives::Close,
    Arrives::BadClose,
    Arrives::Violation,
    Arrives::MessageAndEnd,
    Arrives::End,
    Arrives::Failure,
];

/// The way to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// All that waits goes out.
    Clear,
    /// The kernel takes nothing.
    Blocked,
    /// The same, and the time is up.
    Late,
}

pub(super) const WAYS: [Way; 3] = [Way::Clear, Way::Blocked, Way::Late];

/// The circumstances of an endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Circumstances {
    /// JavaScript has yet to deal with messages.
    pub unsettled: bool,
    /// Part of a message is on its way to others.
    pub unfinished: bool,
    pub held: bool,
    pub stopped: bool,
    /// Each message ends the turn.
    pub short: bool,
    pub holding: Holding,
}

/// A host that writes down what it is asked, and panics when it must not be.
#[derive(Debug, Default)]
pub(super) struct World {
    pub circumstances: Circumstances,
    pub spares: Spares<()>,
    pub buffered: usize,
    pub request: Option<Box<CloseRequest>>,
    /// The one that is told, as soon as it is known.
    pub end: Option<(u16, Box<str>, ClosedBy)>,
    pub has_left: bool,
    pub said: Option<u16>,
    pub shed: u32,
    pub deadline: Option<Deadline>,
    pub wakes: u32,
    pub ended_writing: bool,
    pub reset: bool,
    pub messages: u32,
    pub given_up: bool,
    pub turn_is_over: bool,
}

impl Host<()> for World {
    fn on_effect(&mut self, effect: Effect<'_>) {
        match effect {
            Effect::Send(frame) => {
                assert_eq!(frame[0], 0x88, "only close frames are sent unasked");
                assert!(self.said.is_none(), "one close frame");
                assert!(!self.ended_writing, "nothing is said after our direction has ended");
                let code = match frame {
                    [_, 0] => close::NO_STATUS,
                    [_, _, high, low, ..] => u16::from_be_bytes([*high, *low]),
                    _ => panic!("{frame:?} is no close frame"),
                };
                let told = self.end.as_ref().map(|(code, ..)| *code);
                assert!(self.has_left && told == Some(code), "{code} is said and {told:?} told");
                self.said = Some(code);
                self.buffered += frame.len();
            }
            Effect::Answer(pong) => {
                assert!(self.said.is_none() && !self.has_left, "a pong after the end");
                self.buffered += pong.len();
            }
            Effect::Leave { code, reason, by } => {
                self.end.get_or_insert((code, reason.into(), by));
                self.has_left = true;
            }
            Effect::WillLeave { code, reason, by } => {
                assert!(self.circumstances.unsettled && self.end.is_none() && !self.has_left);
                self.end = Some((code, reason.into(), by));
            }
            Effect::Shed => {
                self.end.get_or_insert((close::SLOW_CONSUMER, "too slow".into(), ClosedBy::Server));
                self.has_left = true;
                self.shed += 1;
                self.buffered = 0;
            }
            Effect::GiveUp => {
                self.given_up |= self.circumstances.unfinished;
                self.circumstances.unfinished = false;
            }
            Effect::Wait(Deadline::NotBeforeLinger) => assert!(self.deadline.is_some()),
            Effect::Wait(deadline) => self.deadline = Some(deadline),
            Effect::Wake => self.wakes += 1,
            Effect::EndWriting => {
                assert!(
                    !self.ended_writing && self.buffered == 0,
                    "our direction ends once, when all is out"
                );
                self.ended_writing = true;
            }
            Effect::Reset => self.reset = true,
        }
    }
    fn on_message(&mut self, _: Message<'_>, may_reflect: bool) -> Routed {
        assert!(self.end.is_none(), "a message after the end");
        self.messages += 1;
        self.turn_is_over = self.circumstances.short;
        if may_reflect { Routed::Reflect } else { Routed::Done }
    }
    fn on_late_message(&mut self) {
        assert!(self.has_left);
    }
    fn on_pong(&mut self, _: &[u8]) {}
    fn on_progress(&mut self, _: usize, (): &mut ()) {}
    fn on_frame(&mut self, _: usize) {}
    fn must_wait(&mut self) -> bool {
        self.circumstances.held
    }
    fn is_turn_over(&mut self) -> bool {
        self.turn_is_over
    }
    fn is_unwanted(&mut self) -> bool {
        self.circumstances.stopped
    }
    fn must_pause(&mut self) -> bool {
        self.circumstances.stopped
    }
    fn must_settle(&mut self) -> bool {
        self.circumstances.unsettled
    }
    fn is_clear(&mut self) -> bool {
        self.buffered == 0
    }
    fn buffered(&mut self) -> usize {
        self.buffered
    }
    fn is_held(&mut self) -> bool {
        self.circumstances.held
    }
    fn clings(&mut self) -> bool {
        self.buffered > 1 << 14
    }
    fn take_close(&mut self) -> Option<Box<CloseRequest>> {
        self.request.take()
    }
    fn take_end(&mut self) -> Option<(u16, Box<str>, ClosedBy)> {
        self.end.take()
    }
    fn with_spares<R>(&mut self, call: impl FnOnce(&mut Spares<()>) -> R) -> R {
        call(&mut self.spares)
    }
}

/// The place of a step among all. An end never goes back.
pub(super) fn rank(phase: Phase) -> usize {
    PHASES.iter().position(|known| *known == phase).unwrap_or(usize::MAX)
}

impl World {
    /// A turn, in the order in which a worker does things.
    pub(super) fn turn(
        &mut self,
        endpoint: &mut Endpoint<()>,
        commands: Commands,
        arrives: Arrives,
        way: Way,
    ) {
        let before = endpoint.phase();
        self.turn_is_over = false;
        if !commands.gives_up(|| self.circumstances.held) {
            // It is relayed to its end before anything else is done.
            self.circumstances.unfinished = false;
        }
        if !commands.is_empty() {
            if commands.has(Commands::CLOSE) {
                self.request = Some(Box::new(CloseRequest { code: 4321, reason: "asked".into() }));
            }
            if commands.has(Commands::SETTLED) {
                self.circumstances.unsettled = false;
            }
            endpoint.on_commands(commands, self.circumstances.holding, self);
        }
        if endpoint.phase() != Phase::Over {
            self.read(endpoint, arrives);
        }
        if commands.has(Commands::OVERDUE) {
            endpoint.on_overdue(self);
        }
        if commands.has(Commands::LOST) && endpoint.phase() != Phase::Over {
            endpoint.on_failure(self);
        }
        if way == Way::Clear {
            self.buffered = 0;
        }
        let written = self.buffered == 0;
        if written && endpoint.phase() != Phase::Over {
            endpoint.on_written(self);
        }
        if way == Way::Late && self.deadline.is_some() && endpoint.phase() != Phase::Over {
            endpoint.on_deadline(written, self);
        }
        self.check(endpoint, before);
    }

    fn read(&mut self, endpoint: &mut Endpoint<()>, arrives: Arrives) {
        match endpoint.input(self) {
            Input::Wanted => {}
            Input::Paused => return assert!(matches!(endpoint.phase(), Phase::Open | Phase::Settling)),
            Input::Unwanted => return assert!(!matches!(endpoint.phase(), Phase::Open | Phase::Closing)),
        }
        const MASKED: [u8; 4] = [0; 4];
        let bytes: &[&[u8]] = match arrives {
            Arrives::Nothing => return,
            Arrives::Message | Arrives::MessageAndEnd => &[&[0x81, 0x81], &MASKED, b"1"],
            Arrives::Ping => &[&[0x89, 0x81], &MASKED, b"p"],
            Arrives::Part => &[&[0x82, 0x8F], &MASKED, b"1"],
            Arrives::Close => &[&[0x88, 0x82], &MASKED, &close::NORMAL.to_be_bytes()],
            Arrives::BadClose => &[&[0x88, 0x81], &MASKED, b"1"],
            Arrives::Violation => &[&[0xC1, 0x81], &MASKED, b"1"],
            Arrives::End => return endpoint.on_end(self),
            Arrives::Failure => return endpoint.on_failure(self),
        };
        let once = bytes.concat();
        // Twice, so that there is something behind each.
        let mut bytes = [&once[..], &once[..]].concat();
        endpoint.on_read(bytes.len());
        let is_heard = matches!(endpoint.phase(), Phase::Open | Phase::Closing);
        let before = (self.messages, endpoint.phase());
        let (taken, reflected) = endpoint.on_bytes(&mut bytes, MAX, self);
        let messages = self.messages - before.0;
        if !is_heard {
            assert_eq!((taken, messages), (bytes.len(), 0), "bytes that nobody wants");
        } else if before.1 == Phase::Open && self.circumstances.held {
            assert_eq!((taken, messages), (0, 0), "bytes that wait");
        } else if self.turn_is_over && messages == 1 {
            assert_eq!(taken, once.len(), "a turn that is over");
        } else {
            assert_eq!(taken, bytes.len());
        }
        assert!(reflected.messages <= messages);
        if taken < bytes.len() {
            return;
        }
        if arrives == Arrives::MessageAndEnd {
            endpoint.on_end(self);
        }
    }

    fn check(&self, endpoint: &Endpoint<()>, before: Phase) {
        let phase = endpoint.phase();
        assert!(rank(phase) >= rank(before), "{before:?} to {phase:?}");
        match phase {
            Phase::Open => assert!(self.end.is_none() && !self.has_left && self.said.is_none()),
            Phase::Settling => assert!(self.end.is_some() && self.said.is_none()),
            Phase::Closing => assert!(self.has_left && self.said.is_some()),
            _ => assert!(self.has_left && self.end.is_some()),
        }
        if !matches!(phase, Phase::Open | Phase::Over) {
            assert!(self.deadline.is_some(), "somebody ends {phase:?}");
        }
        if !matches!(phase, Phase::Open | Phase::Closing | Phase::Over) {
            assert!(endpoint.assembler().is_idle(), "{phase:?} keeps no unfinished message");
        }
        assert_eq!(phase == Phase::HalfClosed, self.ended_writing && phase != Phase::Over);
        assert!(!self.reset || phase == Phase::Over);
    }
}

/// An endpoint in this phase, by way of what really leads there, and its world.
pub(super) fn in_phase(phase: Phase) -> (Endpoint<()>, World) {
    let (mut endpoint, mut world) = (Endpoint::default(), World::default());
    let none = Commands::default();
    let close = Commands(Commands::CLOSE);
    match phase {
        Phase::Open => {}
        Phase::Settling => {
            world.circumstances.unsettled = true;
            world.turn(&mut endpoint, none, Arrives::Close, Way::Blocked);
        }
        Phase::Closing => world.turn(&mut endpoint, close, Arrives::Nothing, Way::Blocked),
        Phase::Draining => world.turn(&mut endpoint, none, Arrives::Violation, Way::Blocked),
        Phase::Flushing => world.turn(&mut endpoint, none, Arrives::Close, Way::Blocked),
        Phase::HalfClosed => world.turn(&mut endpoint, none, Arrives::Violation, Way::Clear),
        Phase::Over => world.turn(&mut endpoint, none, Arrives::Failure, Way::Clear),
    }
    assert_eq!(endpoint.phase(), phase);
    (endpoint, world)
}

/// All sets of commands.
pub(super) fn all_commands() -> impl Iterator<Item = Commands> {
    (0..=Commands::MASK).map(Commands)
}

pub(super) fn all_circumstances() -> impl Iterator<Item = Circumstances> {
    let holdings = [(0, 0), (5, 0), (0, 5), (5, 4), (4, 5)];
    (0..=16).flat_map(move |bits| {
        holdings.map(|(waiting, unfinished)| Circumstances {
            unsettled: bits & 1 != 0,
            unfinished: bits & 2 != 0,
            held: bits & 4 != 0,
            stopped: bits & 8 != 0,
            short: bits & 16 != 0,
            holding: Holding { waiting, unfinished },
        })
    })
}
