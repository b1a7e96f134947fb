//! Every phase of an endpoint meets every set of commands, every kind of input, and every state of the way to its peer. Its host is
//! a `World` that has no socket, and holds the endpoint to its promises at every step.

use codes::close;

use super::*;

/// Limit of a message.
const MAX: usize = 1 << 10;
const PHASES: [Phase; 7] = [
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
enum Arrives {
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

const ARRIVES: [Arrives; 10] = [
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
enum Way {
    /// All that waits goes out.
    Clear,
    /// The kernel takes nothing.
    Blocked,
    /// The same, and the time is up.
    Late,
}

const WAYS: [Way; 3] = [Way::Clear, Way::Blocked, Way::Late];

/// The circumstances of an endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Circumstances {
    /// JavaScript has yet to deal with messages.
    unsettled: bool,
    /// Part of a message is on its way to others.
    unfinished: bool,
    held: bool,
    stopped: bool,
    /// Each message ends the turn.
    short: bool,
    holding: Holding,
}

/// A host that writes down what it is asked, and panics when it must not be.
#[derive(Debug, Default)]
struct World {
    circumstances: Circumstances,
    spares: Spares<()>,
    buffered: usize,
    request: Option<Box<CloseRequest>>,
    /// The one that is told, as soon as it is known.
    end: Option<(u16, Box<str>, ClosedBy)>,
    has_left: bool,
    said: Option<u16>,
    shed: u32,
    deadline: Option<Deadline>,
    wakes: u32,
    ended_writing: bool,
    reset: bool,
    messages: u32,
    given_up: bool,
    turn_is_over: bool,
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
fn rank(phase: Phase) -> usize {
    PHASES.iter().position(|known| *known == phase).unwrap_or(usize::MAX)
}

impl World {
    /// A turn, in the order in which a worker does things.
    fn turn(&mut self, endpoint: &mut Endpoint<()>, commands: Commands, arrives: Arrives, way: Way) {
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
fn in_phase(phase: Phase) -> (Endpoint<()>, World) {
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
fn all_commands() -> impl Iterator<Item = Commands> {
    (0..=Commands::MASK).map(Commands)
}

fn all_circumstances() -> impl Iterator<Item = Circumstances> {
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

/// Calls with each phase, set of commands, input, way and circumstances, after the turn.
fn exhaust(mut with: impl FnMut(Phase, Commands, Arrives, Way, &mut Endpoint<()>, &mut World)) -> usize {
    let mut cases = 0;
    for phase in PHASES {
        for circumstances in all_circumstances() {
            for commands in all_commands() {
                for arrives in ARRIVES {
                    for way in WAYS {
                        let (mut endpoint, mut world) = in_phase(phase);
                        world.circumstances = circumstances;
                        if circumstances.holding.waiting > 0 && !world.ended_writing {
                            world.buffered += circumstances.holding.waiting;
                        }
                        world.turn(&mut endpoint, commands, arrives, way);
                        with(phase, commands, arrives, way, &mut endpoint, &mut world);
                        cases += 1;
                    }
                }
            }
        }
    }
    cases
}

#[test]
fn every_phase_meets_every_set_of_commands_every_input_and_every_way_and_keeps_its_promises() {
    let cases = exhaust(|phase, commands, arrives, way, endpoint, world| {
        let at = || format!("{phase:?} {commands:?} {arrives:?} {way:?}");
        let after = endpoint.phase();
        if commands.has(Commands::TERMINATE | Commands::LOST) {
            assert_eq!(after, Phase::Over, "{}", at());
        }
        if commands.has(Commands::TERMINATE) && phase != Phase::Over && way != Way::Clear {
            assert_eq!(world.reset, world.buffered > 0, "{}", at());
        } else if commands.has(Commands::SLOW) && !commands.has(Commands::TERMINATE) {
            assert_eq!(world.shed, u32::from(matches!(phase, Phase::Open | Phase::Settling)), "{}", at());
        }
        if commands.has(Commands::CLOSE | Commands::SLOW) {
            assert!(!matches!(after, Phase::Open | Phase::Settling), "{}", at());
        }
        if commands.has(Commands::DEAD) {
            assert_ne!(after, Phase::Open, "{}", at());
        }
        assert!(!world.circumstances.unfinished, "a message on its way is given up: {}", at());
        // Whatever comes, its end is near: once its peer stands still, two deadlines are enough.
        if after != Phase::Open {
            for _ in 0..2 {
                if endpoint.phase() != Phase::Over {
                    world.turn(endpoint, Commands::default(), Arrives::Nothing, Way::Late);
                }
            }
            assert_eq!(endpoint.phase(), Phase::Over, "{}", at());
        }
    });
    assert_eq!(cases, PHASES.len() * 85 * 256 * ARRIVES.len() * WAYS.len());
}

#[test]
fn who_is_asked_to_go_says_why_once_and_goes_when_its_peer_answers() {
    exhaust(|phase, commands, _, _, endpoint, world| {
        // Those that nothing hurries.
        if world.reset || world.ended_writing || endpoint.phase() == Phase::Over || phase == Phase::Over {
            return;
        }
        if endpoint.phase() == Phase::Open {
            assert!(!commands.has(Commands::CLOSE));
            return;
        }
        world.circumstances = Circumstances::default();
        world.turn(endpoint, Commands(Commands::SETTLED), Arrives::Close, Way::Clear);
        if endpoint.phase() != Phase::Over {
            assert_eq!(
                endpoint.phase(),
                Phase::HalfClosed,
                "only a peer that broke the rules has to end first"
            );
            world.turn(endpoint, Commands::default(), Arrives::End, Way::Clear);
        }
        assert_eq!(endpoint.phase(), Phase::Over);
        let said = world.said.is_some();
        let by_network = world.end.as_ref().is_some_and(|(_, _, by)| *by == ClosedBy::Network);
        assert!(said || by_network, "it says why, unless its peer had left");
    });
}

/// The phase behind each phase and each single command, with nothing to read and a way that is blocked.
#[test]
fn a_command_does_what_its_name_says_in_each_phase() {
    use Phase::{Closing, Draining, Flushing, HalfClosed, Open, Over, Settling};
    let waiting = Circumstances { holding: Holding { waiting: 5, unfinished: 0 }, ..Default::default() };
    let table = [
        (Commands::SLOW, [Closing, Flushing, Closing, Draining, Flushing, HalfClosed, Over]),
        (Commands::CLOSE, [Closing, Flushing, Closing, Draining, Flushing, HalfClosed, Over]),
        (Commands::DEAD, [Flushing, Settling, Closing, Draining, Flushing, HalfClosed, Over]),
        (Commands::LOST, [Over; 7]),
        (Commands::SETTLED, [Open, Flushing, Closing, Draining, Flushing, HalfClosed, Over]),
        (Commands::OVERDUE, [Open, Settling, Closing, Draining, Flushing, HalfClosed, Over]),
        (Commands::EVICT, [Closing, Flushing, Closing, Draining, Flushing, HalfClosed, Over]),
        (Commands::TERMINATE, [Over; 7]),
    ];
    for (command, expected) in table {
        for (phase, expected) in PHASES.into_iter().zip(expected) {
            let (mut endpoint, mut world) = in_phase(phase);
            world.circumstances = Circumstances { unsettled: phase == Settling, ..waiting };
            world.turn(&mut endpoint, Commands(command), Arrives::Nothing, Way::Blocked);
            assert_eq!(endpoint.phase(), expected, "{phase:?} by {command:#b}");
        }
    }
}

#[test]
fn each_end_has_its_deadline_and_one_that_waited_for_the_application_goes_on_by_itself() {
    for (phase, deadline) in [
        (Phase::Settling, Deadline::Close),
        (Phase::Closing, Deadline::Close),
        (Phase::Draining, Deadline::Close),
        (Phase::Flushing, Deadline::Close),
    ] {
        assert_eq!(in_phase(phase).1.deadline, Some(deadline), "{phase:?}");
    }
    let (mut endpoint, mut world) = in_phase(Phase::Open);
    world.buffered = 1;
    world.turn(&mut endpoint, Commands(Commands::DEAD), Arrives::Nothing, Way::Blocked);
    assert_eq!(world.deadline, Some(Deadline::Offered));
    let (mut endpoint, mut world) = in_phase(Phase::Settling);
    world.turn(&mut endpoint, Commands::default(), Arrives::Nothing, Way::Late);
    assert_eq!((endpoint.phase(), world.wakes), (Phase::Flushing, 1));
}

#[test]
fn two_ends_at_once_are_told_as_they_are_said() {
    let told = |commands: u32, circumstances: Circumstances| {
        let (mut endpoint, mut world) = in_phase(Phase::Open);
        world.circumstances = circumstances;
        world.turn(&mut endpoint, Commands(commands), Arrives::Nothing, Way::Blocked);
        (endpoint.phase(), world.said, world.end.map(|(code, ..)| code))
    };
    let slow = Some(close::SLOW_CONSUMER);
    assert_eq!(
        told(Commands::SLOW | Commands::DEAD, Circumstances::default()),
        (Phase::Flushing, slow, slow)
    );
    let unfinished = Holding { waiting: 0, unfinished: 5 };
    let unsettled = Circumstances { unsettled: true, holding: unfinished, ..Default::default() };
    let full = Some(close::TRY_AGAIN_LATER);
    assert_eq!(told(Commands::EVICT | Commands::CLOSE, unsettled), (Phase::Draining, full, full));
}

#[test]
fn a_failed_socket_and_a_message_on_its_way_are_given_up_together() {
    let (mut endpoint, mut world) = in_phase(Phase::Open);
    world.circumstances.unfinished = true;
    endpoint.on_failure(&mut world);
    assert_eq!((endpoint.phase(), world.given_up, world.has_left), (Phase::Over, true, true));
}

#[test]
fn a_message_that_its_host_looked_at_twice_is_overdue_unless_it_is_complete_or_the_end_has_begun() {
    let (mut endpoint, mut world) = in_phase(Phase::Open);
    world.turn(&mut endpoint, Commands::default(), Arrives::Part, Way::Clear);
    world.turn(&mut endpoint, Commands(Commands::OVERDUE), Arrives::Nothing, Way::Blocked);
    assert_eq!(endpoint.phase(), Phase::Open, "nobody has looked at it");
    assert!(!endpoint.assembler().is_overdue(1, std::time::Duration::ZERO));
    world.turn(&mut endpoint, Commands(Commands::OVERDUE), Arrives::Nothing, Way::Blocked);
    assert_eq!((endpoint.phase(), world.said), (Phase::Draining, Some(close::POLICY)));
}

#[test]
fn a_peer_that_goes_on_sending_after_its_fault_gets_a_moment_and_is_read_no_more() {
    let (mut endpoint, mut world) = in_phase(Phase::HalfClosed);
    endpoint.on_read(MAX_SCRAP);
    for expected in [Some(Deadline::Linger), None] {
        world.deadline = None;
        assert_eq!(endpoint.input(&mut world), Input::Unwanted);
        assert_eq!(world.deadline, expected, "one moment for our last frame");
    }
}

#[test]
fn the_payload_of_a_close_frame_is_read_or_refused() {
    assert_eq!(read_close(b""), Ok((1005, "")));
    assert_eq!(read_close(b"\x03\xE8"), Ok((1000, "")));
    assert_eq!(read_close(b"\x0F\xA0bye"), Ok((4000, "bye")));
    assert_eq!(read_close(b"\x03\xED").map(|(code, _)| code), Ok(1002), "1005 said aloud");
    assert_eq!(read_close(b"\x03").map_err(|violation| violation.code), Err(1002));
    assert_eq!(read_close(b"\x03\xE8\xFF"), Err(Violation::BAD_UTF8));
}
