//! Which master the Sentinels name.
//!
//! They are asked by a link that looks for it, and all the time: a master that was replaced goes on as one for seconds,
//! until a Sentinel turns it into a replica, and whoever stayed with it would publish to nobody.
//!
//! Their `config-epoch` tells masters apart, for each failover has one of its own. Several names of one epoch are those of one
//! master, and none of them is looked up: a slow DNS neither delays a failover nor takes a link away.
//!
//! <https://redis.io/docs/latest/develop/reference/sentinel-clients/>

use std::sync::Arc;
use std::time::Duration;

use codes::error::{Code, Error};
use parking_lot::Mutex;
use redis::Value;
use tokio::task::JoinSet;

use crate::broker::redis::clock;
use crate::broker::redis::config::{Address, Server};
use crate::broker::redis::connection::link::Word;
use crate::broker::redis::router::SubscriptionRouter;
use crate::broker::redis::wire::{Wire, text, unexpected};
use crate::time_of_day::unix_ms;

/// Between two questions to a Sentinel.
const LOOK: Duration = Duration::from_millis(250);
/// The wait for the slower Sentinels once one has answered: one of them may know better.
const HESITATION: Duration = Duration::from_millis(50);

/// Asks all Sentinels where the master is, and in which epoch.
///
/// # Errors
/// That none of them answers, or knows it.
pub(crate) async fn find_master(router: &Arc<SubscriptionRouter>) -> Result<(Server, u64), Error> {
    let mut asked = JoinSet::new();
    for sentinel in &router.config.servers {
        let (router, sentinel) = (router.clone(), sentinel.clone());
        asked.spawn(async move {
            let (mut wire, _) = Wire::connect(&sentinel, &router.config, &router.tls).await?;
            ask(&mut wire, &sentinel, &router).await
        });
    }
    let mut best: Vec<Word> = Vec::new();
    let mut trouble = Error::new(Code::BrokerConnect, "no Sentinel answers");
    loop {
        let patience = if best.is_empty() { router.config.connect_timeout } else { HESITATION };
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
    // Another one each time: the master's name with one of them may lead nowhere from here.
    let Word { epoch, master } = best.swap_remove((unix_ms() / 50) as usize % best.len());
    Ok((router.config.with_login(&Server { address: master, username: None, password: None }), epoch))
}

async fn ask(wire: &mut Wire, sentinel: &Server, router: &SubscriptionRouter) -> Result<Word, Error> {
    let name = &router.config.master_name;
    let mut question = async |what: &str| {
        let command = redis::cmd("SENTINEL").arg(what).arg(name).get_packed_command();
        match tokio::time::timeout(router.config.command_timeout, wire.ask(&command, sentinel)).await {
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

/// The last that is known of a Sentinel.
#[derive(Debug)]
struct Said {
    /// The last that it said.
    word: Word,
    /// When it was asked for that.
    asked: u64,
    /// True if it has named another master in the same epoch: somebody has changed it by hand.
    restated: bool,
    /// True if it has stopped answering.
    silent: bool,
}

impl Said {
    fn after(before: Option<&Said>, word: Word, asked: u64) -> Said {
        let restated = before.is_some_and(|before| {
            before.word.epoch == word.epoch && (before.restated || before.word.master != word.master)
        });
        Said { word, asked, restated, silent: false }
    }
}

/// By the number of the Sentinel.
type Words = Arc<Mutex<Vec<Option<Said>>>>;

/// Listens to all Sentinels until the router is closed.
pub(crate) fn watch(router: &Arc<SubscriptionRouter>) {
    let words = Words::new(Mutex::new(router.config.servers.iter().map(|_| None).collect()));
    let worker = router.next_worker();
    for index in 0..router.config.servers.len() {
        worker.spawn(listen(router.clone(), index, words.clone()));
    }
}

async fn listen(router: Arc<SubscriptionRouter>, index: usize, words: Words) {
    let sentinel = router.config.servers[index].clone();
    while !router.is_closed() {
        if let Ok((mut wire, _)) = Wire::connect(&sentinel, &router.config, &router.tls).await {
            loop {
                let asked = clock::now();
                let Ok(word) = ask(&mut wire, &sentinel, &router).await else { break };
                {
                    let mut words = words.lock();
                    words[index] = Some(Said::after(words[index].as_ref(), word, asked));
                    compare(&router, &words);
                }
                tokio::time::sleep(LOOK).await;
                if router.is_closed() {
                    return;
                }
            }
        }
        if let Some(said) = &mut words.lock()[index] {
            said.silent = true;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Takes links away from a master that is none any more.
fn compare(router: &SubscriptionRouter, words: &[Option<Said>]) {
    let mut agreed = true;
    for link in router.links.all() {
        let Some(word) = link.word() else { continue };
        match judge(words, &word) {
            Verdict::Master => {}
            Verdict::Newer => agreed = false,
            Verdict::Replaced(other) => {
                agreed = false;
                let text = format!("{}: the Sentinels name another master, {other}", word.master);
                link.supersede(word, Error::new(Code::BrokerRole, text));
            }
        }
    }
    let since = words.iter().flatten().filter(|said| !said.silent).map(|said| said.asked).min();
    if agreed && let Some(since) = since {
        router.subscriptions.set_agreed(since);
    }
}

/// The verdict of the words on a link.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is connected to the master.
    Master,
    /// It was told more than they are.
    Newer,
    /// This is the master.
    Replaced(Address),
}

/// Judges a link by the word by which it found its server, and by the words of the greatest epoch.
fn judge(words: &[Option<Said>], link: &Word) -> Verdict {
    let known = || words.iter().flatten().filter(|said| !said.silent);
    let Some(Said { word: best, .. }) = known().max_by_key(|said| said.word.epoch) else {
        return Verdict::Master;
    };
    if best.epoch < link.epoch {
        return Verdict::Newer;
    }
    let mut current = known().filter(|said| said.word.epoch == best.epoch);
    // Another name of its epoch is the same master's, unless somebody has put another one there.
    let same = best.epoch == link.epoch && current.clone().all(|said| !said.restated);
    if same || current.any(|said| said.word.master == link.master) {
        return Verdict::Master;
    }
    Verdict::Replaced(best.master.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn word(epoch: u64, host: &str) -> Word {
        Word { epoch, master: Address::Tcp(host.to_owned(), 6379, false) }
    }

    /// Each Sentinel's answers to one question, asked time and again.
    fn said(words: &[&[Word]]) -> Vec<Option<Said>> {
        let of = |words: &&[Word]| {
            let after =
                |before: Option<Said>, word: &Word| Some(Said::after(before.as_ref(), word.clone(), 0));
            words.iter().fold(None, after)
        };
        words.iter().map(of).collect()
    }

    fn replaced(host: &str) -> Verdict {
        Verdict::Replaced(word(0, host).master)
    }

    #[test]
    fn names_of_one_epoch_are_one_master_and_another_name_of_a_later_one_is_another() {
        let mut words = said(&[&[word(4, "old")], &[], &[word(5, "a")], &[word(5, "b")]]);
        for own in ["a", "b", "c"] {
            assert_eq!(judge(&words, &word(5, own)), Verdict::Master, "{own}");
        }
        assert_eq!(judge(&words, &word(4, "old")), replaced("b"));
        assert_eq!(judge(&words, &word(4, "a")), Verdict::Master, "it is there again");
        assert_eq!(judge(&words, &word(6, "c")), Verdict::Newer);
        // Those that are silent do not count.
        words[2..].iter_mut().flatten().for_each(|said| said.silent = true);
        assert_eq!(judge(&words, &word(5, "a")), Verdict::Newer);
        assert_eq!(judge(&words, &word(4, "old")), Verdict::Master);
        assert_eq!(judge(&said(&[&[], &[]]), &word(4, "a")), Verdict::Master);
    }

    #[test]
    fn a_master_that_is_changed_by_hand_is_followed_once_no_sentinel_names_the_old_one() {
        let [old, new] = ["old", "new"].map(|host| word(0, host));
        let (unchanged, changed) = ([old.clone()], [old.clone(), new.clone(), new.clone()]);
        let halfway = said(&[&changed, &unchanged]);
        assert_eq!((judge(&halfway, &old), judge(&halfway, &new)), (Verdict::Master, Verdict::Master));
        let done = said(&[&changed, &changed]);
        assert_eq!((judge(&done, &old), judge(&done, &new)), (replaced("new"), Verdict::Master));
        // Also where the other one ends before it is changed.
        let mut ended = halfway;
        ended[1].as_mut().unwrap().silent = true;
        assert_eq!(judge(&ended, &old), replaced("new"));
        // An epoch of its own is no change by hand.
        assert_eq!(judge(&said(&[&[old, word(1, "new")]]), &word(1, "alias")), Verdict::Master);
    }
}
