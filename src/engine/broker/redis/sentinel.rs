//! Which master the Sentinels name.
//!
//! They are asked by a link that looks for it, and all the time: a master that was replaced goes on as one for seconds,
//! until a Sentinel turns it into a replica, and whoever stayed with it would publish to nobody.
//!
//! <https://redis.io/docs/latest/develop/reference/sentinel-clients/>

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use redis::Value;
use tokio::task::JoinSet;

use super::clock;
use super::config::{Address, Server};
use super::hub::Hub;
use super::name;
use super::wire::{Wire, text, unexpected};
use crate::engine::error::{Code, Error};
use crate::engine::worker::unix_ms;

/// Between two questions to a Sentinel.
const LOOK: Duration = Duration::from_millis(250);
/// How long the slower Sentinels are waited for once one has answered: one of them may know better.
const HESITATION: Duration = Duration::from_millis(50);

/// What a Sentinel says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    /// Grows with each failover: of two words that differ, the greater one counts.
    epoch: u64,
    master: Address,
}

/// Asks all Sentinels where the master is.
///
/// # Errors
/// That none of them answers, or knows it.
pub async fn find_master(hub: &Arc<Hub>) -> Result<Server, Error> {
    let mut asked = JoinSet::new();
    for sentinel in &hub.config.servers {
        let (hub, sentinel) = (hub.clone(), sentinel.clone());
        asked.spawn(async move {
            let (mut wire, _) = Wire::connect(&sentinel, &hub.config, &hub.tls).await?;
            ask(&mut wire, &sentinel, &hub).await
        });
    }
    let mut best: Vec<Word> = Vec::new();
    let mut trouble = Error::new(Code::BrokerConnect, "no Sentinel answers");
    loop {
        let patience = if best.is_empty() { hub.config.connect_timeout } else { HESITATION };
        match tokio::time::timeout(patience, asked.join_next()).await {
            Ok(Some(Ok(Ok(word)))) => {
                best.retain(|best| best.epoch >= word.epoch);
                if best.first().is_none_or(|best| best.epoch == word.epoch) {
                    best.push(word);
                }
            }
            // A Sentinel that answers tells more than those that don't.
            Ok(Some(Ok(Err(error)))) if trouble.kind != Code::BrokerRole => trouble = error,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    if best.is_empty() {
        return Err(trouble);
    }
    // Another one each time: what one of them calls the master may lead nowhere from here.
    let Word { epoch, master } = best.swap_remove((unix_ms() / 50) as usize % best.len());
    hub.found_epoch.store(epoch, Ordering::Release);
    Ok(hub.config.with_login(&Server { address: master, username: None, password: None }))
}

async fn ask(wire: &mut Wire, sentinel: &Server, hub: &Hub) -> Result<Word, Error> {
    let name = &hub.config.master_name;
    let mut question = async |what: &str| {
        let command = redis::cmd("SENTINEL").arg(what).arg(name).get_packed_command();
        match tokio::time::timeout(hub.config.command_timeout, wire.ask(&command, sentinel)).await {
            Ok(answer) => answer,
            Err(_) => Err(sentinel.error(Code::BrokerTimeout, "no answer")),
        }
    };
    loop {
        let before = question("MASTER").await.map_err(|error| {
            if !error.message.contains("No such master") {
                return error;
            }
            sentinel.error(Code::BrokerRole, format!("the Sentinel knows no master '{name}'"))
        })?;
        // Not the address in that: while the other replicas are told, it is still that of the old master.
        let address = question("GET-MASTER-ADDR-BY-NAME").await?;
        let after = question("MASTER").await?;
        if epoch(&before) == epoch(&after) {
            return read(&after, &address, sentinel).ok_or_else(|| unexpected(sentinel, "SENTINEL"));
        }
    }
}

fn epoch(state: &Value) -> Option<u64> {
    let Value::Map(fields) = state else { return None };
    let (_, epoch) = fields.iter().find(|(key, _)| text(key) == Some("config-epoch"))?;
    text(epoch)?.parse().ok()
}

fn read(state: &Value, address: &Value, sentinel: &Server) -> Option<Word> {
    let Value::Array(address) = address else { return None };
    let (host, port) = (text(address.first()?)?, text(address.get(1)?)?);
    let master = Address::Tcp(host.to_owned(), port.parse().ok()?, sentinel.address.is_tls());
    Some(Word { epoch: epoch(state)?, master })
}

/// The last word of each Sentinel that answers, and when it was asked for.
type Words = Arc<Mutex<Vec<Option<(Word, u64)>>>>;

/// Listens to all Sentinels until the hub is closed.
pub fn watch(hub: &Arc<Hub>) {
    let words: Words = Arc::new(Mutex::new(vec![None; hub.config.servers.len()]));
    let place = hub.place();
    for index in 0..hub.config.servers.len() {
        place.runtime.spawn(listen(hub.clone(), index, words.clone()));
    }
}

async fn listen(hub: Arc<Hub>, index: usize, words: Words) {
    let sentinel = hub.config.servers[index].clone();
    while !hub.is_closed() {
        if let Ok((mut wire, _)) = Wire::connect(&sentinel, &hub.config, &hub.tls).await {
            loop {
                let asked = clock::now();
                let Ok(word) = ask(&mut wire, &sentinel, &hub).await else { break };
                let named = {
                    let mut words = words.lock();
                    words[index] = Some((word, asked));
                    named(&words)
                };
                if let Some((epoch, masters, since)) = named {
                    compare(&hub, epoch, &masters, since).await;
                }
                tokio::time::sleep(LOOK).await;
                if hub.is_closed() {
                    return;
                }
            }
        }
        words.lock()[index] = None;
        tokio::time::sleep(LOOK).await;
    }
}

/// What the words of the greatest epoch name, each once, and since when all words are known. One Sentinel may call a master by
/// name and another one by address.
fn named(words: &[Option<(Word, u64)>]) -> Option<(u64, Vec<Address>, u64)> {
    let known = words.iter().flatten();
    let epoch = known.clone().map(|(word, _)| word.epoch).max()?;
    let since = known.clone().map(|(_, asked)| *asked).min()?;
    let mut masters: Vec<_> =
        known.filter(|(word, _)| word.epoch == epoch).map(|(word, _)| word.master.clone()).collect();
    masters.sort();
    masters.dedup();
    Some((epoch, masters, since))
}

/// Takes links away from a master that is none any more.
async fn compare(hub: &Hub, epoch: u64, masters: &[Address], since: u64) {
    // A link that asked since has newer news than all that.
    if epoch < hub.found_epoch.load(Ordering::Acquire) {
        return;
    }
    let mut agreed = true;
    for link in hub.links() {
        let Some(address) = link.address() else { continue };
        let mut meant = 0;
        for master in masters {
            meant += usize::from(name::are_one(&address, master).await);
        }
        agreed &= meant == masters.len();
        // Where they name several in one epoch, nobody knows better than this link.
        if meant == 0 {
            let text = format!("{address}: the Sentinels name another master, {}", masters[0]);
            link.doubt(address, Error::new(Code::BrokerRole, text));
        }
    }
    if agreed {
        hub.set_agreed(since);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_epoch_counts_with_all_that_it_names() {
        let at = |host: &str| Address::Tcp(host.to_owned(), 6379, false);
        let word = |epoch, host, asked| Some((Word { epoch, master: at(host) }, asked));
        assert_eq!(named(&[None, None]), None);
        let words = [word(4, "old", 7), None, word(5, "b", 8), word(5, "a", 9), word(5, "b", 10)];
        assert_eq!(named(&words), Some((5, vec![at("a"), at("b")], 7)));
    }
}
