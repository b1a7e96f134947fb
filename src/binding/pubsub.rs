//! `RedisPubSub` as JavaScript sees it.

use std::sync::Arc;
use std::time::Duration;

use codes::error;
use napi::Env;
use napi::bindgen_prelude::{Array, Function, Result, Unknown};
use napi_derive::napi;

use super::batch::{self, Collect};
use super::notify::notifier;
use super::options;
use super::outcome::{Outcome, outcome};
use super::teardown::end_with;
use super::throw::throw_error;
use crate::broker::redis::PubSub;
use crate::outcome::Reply;

/// Longest wait for answers that are due when it is closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Subscriptions by name, owned by the JavaScript environment that made them.
#[napi]
pub struct NativePubSub {
    pubsub: Arc<PubSub>,
}

#[napi]
impl NativePubSub {
    /// Begins to connect; the options are those of a manager's `redis`. `wake` is called on the JavaScript thread when
    /// `drain` has something.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        env: Env,
        options: Unknown<'_>,
        redis_url: Option<String>,
        wake: Function<'_, (), ()>,
    ) -> Result<Self> {
        let config = options::parse_redis(&env, options, redis_url)?;
        let pubsub = PubSub::start(config, notifier(wake)?).map_err(|error| throw_error(&env, &error))?;
        let pubsub = Arc::new(pubsub);
        let weak = Arc::downgrade(&pubsub);
        end_with(&env, weak)?;
        Ok(NativePubSub { pubsub })
    }

    /// Comes to null when all links are up.
    #[napi(catch_unwind)]
    pub fn ready(&self) -> Outcome {
        outcome(self.pubsub.ready())
    }

    /// Publishes; how many subscribers were handed it.
    #[napi(catch_unwind)]
    pub fn publish(&self, env: Env, channel: String, payload: String) -> Result<Outcome> {
        answer(&env, self.pubsub.publish(&channel, payload.as_bytes()))
    }

    /// Subscribes; comes to null when that is confirmed.
    #[napi(catch_unwind)]
    pub fn subscribe(&self, env: Env, channel: String) -> Result<Outcome> {
        answer(&env, self.pubsub.subscribe(&channel))
    }

    /// Drops a subscription.
    #[napi(catch_unwind)]
    pub fn unsubscribe(&self, channel: String) {
        self.pubsub.unsubscribe(&channel);
    }

    /// A batch of at most `max` events, as `collect` makes an array of it; null: there is nothing left.
    #[napi(catch_unwind, ts_args_type = "collect: (...values: unknown[]) => unknown[], max: number")]
    pub fn drain<'env>(
        &self,
        env: &'env Env,
        collect: Collect<'env>,
        max: u32,
    ) -> Result<Option<Array<'env>>> {
        let events = self.pubsub.drain(max as usize);
        (!events.is_empty()).then(|| batch::write_unconnected(env, &collect, events)).transpose()
    }

    /// Nothing waits for it here.
    #[napi(catch_unwind)]
    pub fn flush(&self) {}

    /// Ends everything; CLOSED tells when it is done.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        self.pubsub.close(PATIENCE);
    }
}

fn answer(env: &Env, reply: std::result::Result<Reply, error::Error>) -> Result<Outcome> {
    reply.map(outcome).map_err(|error| throw_error(env, &error))
}
