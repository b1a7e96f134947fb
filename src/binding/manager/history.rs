//! Histories, as a manager reads them.

use codes::error::{Code, shorten};
use history::position::Position;
use napi::Env;
use napi::bindgen_prelude::Result;
use napi_derive::napi;

use super::NativeManager;
use super::servers::answer;
use crate::binding::outcome::Outcome;
use crate::binding::throw::throw;
use crate::registry::recipients::Topic;

#[napi]
impl NativeManager {
    /// Reads at most `limit` messages of a user's history: those after a position, or else the oldest.
    #[napi(catch_unwind)]
    pub fn history_of_user(
        &self,
        env: Env,
        user_id: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Outcome> {
        self.read(&env, Topic::User(&user_id), after, limit)
    }

    /// The same of a room's.
    #[napi(catch_unwind)]
    pub fn history_of_room(
        &self,
        env: Env,
        room: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Outcome> {
        self.read(&env, Topic::Room(&room), after, limit)
    }

    fn read(&self, env: &Env, topic: Topic<'_>, after: Option<String>, limit: u32) -> Result<Outcome> {
        let after = after.map(|text| position(env, &text)).transpose()?;
        answer(env, self.engine.history(topic, after, limit))
    }
}

fn position(env: &Env, text: &str) -> Result<Position> {
    text.parse().map_err(|_| {
        let got = shorten(text, 40);
        let message =
            format!("\"options.after\" must be a position, as a Delivery or a page has it; got {got:?}");
        throw(env, Code::InvalidArg, &message)
    })
}
