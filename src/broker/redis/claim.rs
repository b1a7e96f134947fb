//! The channels that are a manager's own. Messages on them are obeyed, so nothing but a manager may reach them: neither
//! `publish` nor a `RedisPubSub`, whose channels are often named after what a client sent.
//!
//! It does not matter which Redis a manager is on: two URLs may lead to one, by a name and an address, by two nodes, by a Sentinel
//! and past it, and nothing here can tell. A channel that is refused although it could do no harm gets another name; one that is
//! let through by mistake lets a client write to any user.

use codes::error::{Code, Error, quote};
use parking_lot::Mutex;

/// The prefixes of all managers of this process.
static CLAIMS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A prefix, for as long as its manager lives.
#[derive(Debug)]
pub(super) struct Claim(String);

impl Claim {
    /// Claims a prefix. Several may.
    pub(super) fn on(prefix: &str) -> Claim {
        CLAIMS.lock().push(prefix.to_owned());
        tracing::info!(prefix, "prefix claimed");
        Claim(prefix.to_owned())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = CLAIMS.lock();
        if let Some(at) = claims.iter().position(|claim| *claim == self.0) {
            claims.swap_remove(at);
            tracing::info!(prefix = self.0, "prefix given up");
        }
    }
}

/// True if a channel is free: neither under this prefix nor under that of any manager.
///
/// # Errors
/// `ERR_ARG_OUT_OF_RANGE`
pub(super) fn check(channel: &str, prefix: &str) -> Result<(), Error> {
    let is_under = |prefix: &str| channel.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(':'));
    let claims = CLAIMS.lock();
    let owner = [prefix].into_iter().chain(claims.iter().map(String::as_str)).find(|prefix| is_under(prefix));
    let Some(owner) = owner else { return Ok(()) };
    let text = format!(
        "channel must be outside of {}, which is redis.prefix of a manager, got {}",
        quote(&format!("{owner}:")),
        quote(channel)
    );
    Err(Error::new(Code::ArgOutOfRange, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_a_prefix_is_its_managers_as_long_as_that_lives() {
        let free = |channel: &str| check(channel, "own").is_ok();
        assert!(!free("own:user:ada") && !free("own:{12}:user:ada") && !free("own:"));
        assert!(free("own") && free("owner:x") && free("x:own:y") && free("claimed:x"));
        let [one, two] = [(); 2].map(|()| Claim::on("claimed"));
        assert!(!free("claimed:x"));
        drop(one);
        assert!(!free("claimed:x"));
        drop(two);
        assert!(free("claimed:x"));
    }
}
