//! The objects that end with their JavaScript environment: a Worker that exits, or a test environment that is torn down, takes
//! its threads and sockets with it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Weak;

use napi::Env;
use napi::bindgen_prelude::Result;

use crate::broker::redis::PubSub;
use crate::engine::Engine;

/// An object that can be ended at once.
pub(super) trait Abort {
    /// Blocks until it has ended.
    fn abort(&self);
}

impl Abort for Engine {
    fn abort(&self) {
        Engine::abort(self);
    }
}

impl Abort for PubSub {
    fn abort(&self) {
        PubSub::abort(self);
    }
}

thread_local! {
    /// By environment. A hook for each of them would stay until the environment ends, also when what it is for is long gone.
    static LIVING: RefCell<HashMap<usize, Vec<Weak<dyn Abort>>>> = RefCell::default();
}

/// Has `what` end with the environment, if it is still there by then.
pub(super) fn end_with(env: &Env, what: Weak<dyn Abort>) -> Result<()> {
    let key = env.raw() as usize;
    let is_first = LIVING.with_borrow_mut(|living| {
        let is_first = !living.contains_key(&key);
        let all = living.entry(key).or_default();
        all.retain(|each| each.strong_count() > 0);
        all.push(what);
        is_first
    });
    if is_first {
        env.add_env_cleanup_hook(key, |key| {
            let all = LIVING.try_with(|living| living.borrow_mut().remove(&key)).ok().flatten();
            all.unwrap_or_default().iter().filter_map(Weak::upgrade).for_each(|each| each.abort());
        })?;
    }
    Ok(())
}
