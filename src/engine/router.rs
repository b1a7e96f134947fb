//! The way of a client's message: to listeners, and on to other connections by the relay.

use std::sync::Arc;

use codes::error::Code;
use protocol::endpoint::Routed;
use protocol::frame::Message;

use super::config::Relay;
use super::json::{self, JsonFault};
use super::shared::Shared;
use crate::events::{AskedKind, Interest};
use crate::registry::recipients::RelayTarget;
use crate::worker::handle::Handle;
use crate::worker::memory::Count;
use crate::worker::receipts::Receipt;
use crate::worker::refusal::{Refused, RelayRefusal};
use crate::worker::relaying::Relaying;
use crate::worker::scheduler::{self, Budget};

/// Cost of a message, as [`scheduler::charge`] counts.
const MESSAGE: u64 = 4;
/// Cost of the check that a text is JSON, as a multiple of [`scheduler::bytes`].
const CHECK: u64 = 2;

static BINARY: RelayRefusal = RelayRefusal::new(Code::BinaryNotRelayed, "only text messages are relayed");
static TOO_LARGE: RelayRefusal = RelayRefusal::new(Code::TooLarge, "the message is larger than an outbox");
static NOT_JSON: RelayRefusal = RelayRefusal::new(Code::InvalidJson, "the message is not JSON");
static TOO_DEEP: RelayRefusal =
    RelayRefusal::new(Code::InvalidJson, "the message is nested deeper than 128 levels");
static NOT_IN_ROOM: RelayRefusal = RelayRefusal::new(Code::NotInRoom, "the connection is in no room");

/// See [`Application::relay_on`](crate::worker::application::Application::relay_on).
pub(super) fn relay_on(
    shared: &Shared,
    handle: &Arc<Handle>,
    relaying: &mut Relaying,
    budget: &Budget,
) -> bool {
    if handle.inbox().intake().is_some_and(|intake| intake.must_wait(handle)) {
        return false;
    }
    let rooms = &relaying.rooms[relaying.done..];
    let receipt = relaying.receipt.as_ref();
    let text = Message::Text(&relaying.text);
    relaying.done += relay_to(rooms, shared, handle, text, receipt, budget, &mut relaying.outcome);
    relaying.count.move_on();
    let is_done = relaying.done == relaying.rooms.len();
    if is_done {
        let outcome = std::mem::replace(&mut relaying.outcome, Ok(()));
        conclude(shared, handle, outcome, relaying.receipt.take());
    }
    is_done
}

/// Routes one message. Listeners get every message as it came; the relay passes on what is JSON text. With a `receipt` the client
/// hears of it.
pub(super) fn on_message(
    shared: &Shared,
    handle: &Arc<Handle>,
    message: Message<'_>,
    receipt: Option<Receipt>,
    may_reflect: bool,
    rest: &mut Option<Box<Relaying>>,
    budget: &Budget,
) -> Routed {
    let counters = &handle.inbox().counters;
    let is_checked = shared.config.relay != Relay::Off && matches!(message, Message::Text(_));
    let passes = if is_checked { 1 + CHECK } else { 1 };
    scheduler::charge(MESSAGE + passes * scheduler::bytes(message.payload().len()));
    counters.messages_in.add(1);
    counters.bytes_in.add(message.payload().len() as u64);
    let is_heard = shared.events.wants(Interest::MESSAGE);
    match &receipt {
        None => shared.events.push_message(handle, message),
        Some(receipt) if is_heard => {
            shared.events.push_asked(handle, message, AskedKind::Message, receipt.another());
        }
        Some(_) => {}
    }
    let relayed = match shared.config.relay {
        Relay::Off => {
            match receipt {
                Some(receipt) if !is_heard => {
                    let why = "the application neither listens for messages nor relays them";
                    receipt.refuse(Code::NoListener.as_str(), why);
                }
                Some(receipt) => receipt.take(),
                None => {}
            }
            return Routed::Done;
        }
        Relay::User => match check(shared, message) {
            Ok(_)
                if may_reflect
                    && shared.broker.is_alone()
                    && shared.config.history.users.is_none()
                    && handle.writer().may_write_directly() =>
            {
                counters.messages_relayed.add(1);
                return Routed::Reflect;
            }
            Ok(_) => {
                let relayed = shared.broker.relay(RelayTarget::OwnUser, message, handle, receipt.as_ref());
                relayed.map_err(Refused::from)
            }
            Err(refusal) => Err(refusal.into()),
        },
        Relay::Rooms => match check(shared, message).and_then(|text| Ok((text, rooms_of(handle)?))) {
            Ok((text, rooms)) => {
                let mut outcome = Ok(());
                let done = relay_to(&rooms, shared, handle, message, receipt.as_ref(), budget, &mut outcome);
                if done < rooms.len() {
                    let mut count = Count::new(&shared.memory);
                    count.grow(text.len());
                    let text = text.into();
                    *rest = Some(Box::new(Relaying { text, count, rooms, done, outcome, receipt }));
                    return Routed::Done;
                }
                outcome
            }
            Err(refusal) => Err(refusal.into()),
        },
    };
    conclude(shared, handle, relayed, receipt);
    Routed::Done
}

fn conclude(shared: &Shared, handle: &Arc<Handle>, relayed: Result<(), Refused>, receipt: Option<Receipt>) {
    let counters = &handle.inbox().counters;
    match relayed {
        Ok(()) => {
            counters.messages_relayed.add(1);
            if let Some(receipt) = receipt {
                receipt.take();
            }
        }
        Err(refused) => {
            counters.messages_not_relayed.add(1);
            refused.tell(handle, receipt, shared.config.limits.outbox_bytes);
        }
    }
}

/// Relays to one of these rooms at least, and to as many as the turn has time and Redis has room for. Answers how many. Every
/// room gets its try; the sender is told of the first that failed.
fn relay_to(
    rooms: &[Arc<str>],
    shared: &Shared,
    handle: &Arc<Handle>,
    message: Message<'_>,
    receipt: Option<&Receipt>,
    budget: &Budget,
    outcome: &mut Result<(), Refused>,
) -> usize {
    for (done, room) in rooms.iter().enumerate() {
        let is_room_used_up = || handle.inbox().intake().is_some_and(|intake| intake.is_used_up_by(handle));
        if done > 0 && (budget.is_spent() || is_room_used_up()) {
            return done;
        }
        let relayed = shared.broker.relay(RelayTarget::Room(room), message, handle, receipt);
        if let (Ok(()), Err(error)) = (&outcome, relayed) {
            *outcome = Err(error.into());
        }
    }
    rooms.len()
}

fn rooms_of(handle: &Handle) -> Result<Arc<[Arc<str>]>, &'static RelayRefusal> {
    let mut rooms = handle.rooms().lock();
    if rooms.is_empty() {
        return Err(&NOT_IN_ROOM);
    }
    // Not locked meanwhile: a relay to many takes long, and the embedder may ask for the rooms, join or leave.
    Ok(rooms.list())
}

fn check<'m>(shared: &Shared, message: Message<'m>) -> Result<&'m str, &'static RelayRefusal> {
    let Message::Text(text) = message else { return Err(&BINARY) };
    if text.len() > shared.config.limits.outbox_bytes {
        return Err(&TOO_LARGE);
    }
    match json::check(text) {
        Ok(()) => Ok(text),
        Err(JsonFault::Malformed) => Err(&NOT_JSON),
        Err(JsonFault::TooDeep) => Err(&TOO_DEEP),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::engine::Engine;
    use crate::engine::config::{Auth, Config};
    use crate::worker::handle::Peer;

    #[test]
    fn the_list_of_rooms_is_not_locked_while_a_message_is_relayed_to_them() {
        let config = Config { threads: 1, relay: Relay::Rooms, ..Config::new(Auth::Anonymous) };
        let engine = Engine::start(config, Box::new(|| {})).unwrap();
        let shared = engine.shared();
        let member = |user: &str, rooms: &[&str]| {
            let inbox = engine.inner.inboxes[0].clone();
            let handle = Arc::new(Handle::new(shared.next_id(), user.into(), Peer::default(), inbox));
            shared.registry.add(&handle);
            rooms.iter().for_each(|room| _ = shared.registry.join(&handle, &(*room).into(), usize::MAX));
            handle
        };
        let (ada, bob) = (member("ada", &["first", "held"]), member("bob", &["first"]));
        let mut is_free = false;
        std::thread::scope(|scope| {
            // A relay to this room waits until here all members were visited, and ada is the only one.
            shared.registry.room("held").unwrap().for_each(|_| {
                scope.spawn(|| {
                    on_message(shared, &ada, Message::Text("1"), None, false, &mut None, &Budget::begin())
                });
                let deadline = Instant::now() + Duration::from_secs(30);
                while bob.buffered() == 0 && Instant::now() < deadline {
                    std::thread::yield_now();
                }
                is_free = bob.buffered() > 0 && ada.rooms().try_lock().is_some();
            });
        });
        assert!(is_free);
        engine.abort();
    }
}
