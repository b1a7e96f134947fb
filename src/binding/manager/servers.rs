//! All servers together, as a manager asks them: to send, to disconnect, to count.

use codes::error;
use napi::Env;
use napi::bindgen_prelude::Result;
use napi_derive::napi;

use super::{Data, NativeManager, message};
use crate::binding::outcome::{Outcome, outcome};
use crate::binding::throw::throw_error;
use crate::broker::PublishOptions;
use crate::outcome::Reply;
use crate::registry::recipients::Channel;

#[napi]
impl NativeManager {
    /// Publishes to a user. Strict: to nobody unless every server can be reached. Fleeting: without a place in the history.
    /// Of several with the same key only the first is published.
    #[napi(catch_unwind)]
    pub fn send_to_user(
        &self,
        env: Env,
        user_id: String,
        data: Data<'_>,
        strict: bool,
        fleeting: bool,
        key: Option<String>,
    ) -> Result<Outcome> {
        let options = publish_options(strict, fleeting, key.as_deref());
        answer(&env, self.engine.publish(Channel::User(&user_id), message(&data), options))
    }

    /// Publishes to a room.
    #[napi(catch_unwind)]
    pub fn send_to_room(
        &self,
        env: Env,
        room: String,
        data: Data<'_>,
        strict: bool,
        fleeting: bool,
        key: Option<String>,
    ) -> Result<Outcome> {
        let options = publish_options(strict, fleeting, key.as_deref());
        answer(&env, self.engine.publish(Channel::Room(&room), message(&data), options))
    }

    /// Publishes to everyone.
    #[napi(catch_unwind)]
    pub fn broadcast(&self, env: Env, data: Data<'_>, strict: bool) -> Result<Outcome> {
        answer(&env, self.engine.publish(Channel::Everyone, message(&data), strict))
    }

    /// Publishes on a channel of the application's own; how many subscribers were handed it.
    #[napi(catch_unwind)]
    pub fn publish(&self, env: Env, channel: String, payload: String) -> Result<Outcome> {
        answer(&env, self.engine.publish_raw(&channel, payload.as_bytes()))
    }

    /// Closes a user's connections on all servers.
    #[napi(catch_unwind)]
    pub fn disconnect_user(
        &self,
        env: Env,
        user_id: String,
        code: u32,
        reason: String,
        strict: bool,
    ) -> Result<Outcome> {
        answer(&env, self.engine.disconnect_user(&user_id, code as u16, &reason, strict))
    }

    /// On how many servers a user has a connection, at most.
    #[napi(catch_unwind)]
    pub fn is_online(&self, env: Env, user_id: String) -> Result<Outcome> {
        answer(&env, self.engine.is_online(&user_id))
    }

    /// Counts the connections of a user, or all, on all servers.
    #[napi(catch_unwind)]
    pub fn count(&self, env: Env, user_id: Option<String>) -> Result<Outcome> {
        answer(&env, self.engine.count(user_id.as_deref()))
    }

    /// Comes to null when the broker is up.
    #[napi(catch_unwind)]
    pub fn ready(&self, env: Env) -> Result<Outcome> {
        answer(&env, self.engine.ready())
    }
}

fn publish_options(is_strict: bool, is_fleeting: bool, key: Option<&str>) -> PublishOptions<'_> {
    PublishOptions { is_strict, is_fleeting, idempotency_key: key }
}

pub(super) fn answer(env: &Env, reply: std::result::Result<Reply, error::Error>) -> Result<Outcome> {
    reply.map(outcome).map_err(|error| throw_error(env, &error))
}
