//! Every phase of an endpoint meets every set of commands, every kind of input, and every state of the way to its peer.

use codes::close;

use super::*;
use world::{
    ARRIVES, Arrives, Circumstances, PHASES, WAYS, Way, World, all_circumstances, all_commands, in_phase,
};

mod world;

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
        // Its end is near, whatever comes: once its peer stands still, two deadlines are enough.
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
