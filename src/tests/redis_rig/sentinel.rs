//! A master, its replica, and three Sentinels over them, of which two decide.

use redis::Value;

use super::server::{RedisServer, private_dir, reserve_port};
use crate::broker::redis::{RedisConfig, Server as RedisAt};
use crate::tests::harness::eventually;

/// The master's name.
pub(crate) const NAME: &str = "main";
const SENTINELS: usize = 3;
/// A master that is silent for so long is down. The third is slower, so that one vote is always to be had: three that
/// all vote for themselves try again after seconds.
const PATIENCE_MS: [u64; SENTINELS] = [500, 600, 1500];

/// See the module.
pub(crate) struct Sentinels {
    /// The master that it began with, and its replica.
    pub redis: [RedisServer; 2],
    pub sentinels: Vec<RedisServer>,
}

impl Sentinels {
    /// Starts them. The Sentinels know each other from the beginning.
    pub(crate) fn start() -> Sentinels {
        Sentinels::with(&[], &[])
    }

    /// The same with these lines in the configurations of Redis and of the Sentinels.
    pub(crate) fn with(redis: &[&str], sentinel: &[&str]) -> Sentinels {
        let redis = [&["repl-diskless-sync-delay 0"], redis].concat();
        let master = RedisServer::with(&redis);
        let at = master.address().port();
        let replica = RedisServer::with(&[&redis[..], &[&format!("replicaof 127.0.0.1 {at}")]].concat());
        let ports: Vec<_> = (0..SENTINELS).map(|_| reserve_port()).collect();
        let id = |index: usize| format!("{:040x}", index + 1);
        let peers: Vec<String> = (0..SENTINELS)
            .map(|index| format!("sentinel known-sentinel {NAME} 127.0.0.1 {} {}", ports[index].1, id(index)))
            .collect();
        let start = |(index, port)| {
            let mut lines = vec![
                format!("sentinel myid {}", id(index)),
                format!("sentinel monitor {NAME} 127.0.0.1 {at} 2"),
                format!("sentinel down-after-milliseconds {NAME} {}", PATIENCE_MS[index]),
                format!("sentinel failover-timeout {NAME} 3000"),
                format!("sentinel known-replica {NAME} 127.0.0.1 {}", replica.address().port()),
            ];
            lines.extend((0..SENTINELS).filter(|peer| *peer != index).map(|peer| peers[peer].clone()));
            let lines: Vec<&str> = lines.iter().map(String::as_str).chain(sentinel.iter().copied()).collect();
            let sentinel = RedisServer::on_port(port, private_dir(), &lines);
            // Periods of seconds otherwise. A replica is good if it was heard of within five pings.
            for (period, ms) in [("ping", 300), ("ask", 100), ("info", 200), ("publish", 500)] {
                sentinel.run(&["SENTINEL", "DEBUG", &format!("{period}-period"), &ms.to_string()]);
            }
            sentinel
        };
        let sentinels = ports.into_iter().enumerate().map(start).collect();
        let all = Sentinels { redis: [master, replica], sentinels };
        all.await_formed();
        all
    }

    /// Waits until the replica has the master's data and the Sentinels see that all is well.
    fn await_formed(&self) {
        eventually("the replica to have its master's data", || {
            self.redis[1].ask::<String>(&["INFO", "replication"]).contains("master_link_status:up")
        });
        for sentinel in &self.sentinels {
            eventually("the Sentinels to agree", || {
                let quorum: Result<Value, _> = sentinel.try_ask(&["SENTINEL", "CKQUORUM", NAME]);
                let replicas: Vec<Value> = sentinel.ask(&["SENTINEL", "REPLICAS", NAME]);
                let replicas = format!("{replicas:?}");
                quorum.is_ok() && replicas.contains("\"slave\"") && !replicas.contains("s_down")
            });
        }
    }

    /// A configuration with the URLs of the Sentinels.
    pub(crate) fn config(&self) -> RedisConfig {
        let servers = self.sentinels.iter().map(|sentinel| RedisAt::parse(&sentinel.url()).unwrap());
        RedisConfig { master_name: NAME.into(), ..RedisConfig::new(servers.collect()) }
    }

    /// Waits until all Sentinels that live name this one as the master.
    pub(crate) fn await_master(&mut self, index: usize) {
        let port = self.redis[index].address().port().to_string();
        for sentinel in &mut self.sentinels {
            if !sentinel.is_alive() {
                continue;
            }
            eventually("the Sentinels to name the new master", || {
                let address: Vec<String> = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
                address[1] == port
            });
        }
    }

    /// The number of our servers that are connected to a Redis. None in the moment in which its Sentinels cut everybody off.
    pub(crate) fn subscribers(&self, index: usize) -> Option<u64> {
        let asked = self.redis[index].try_ask::<(String, u64)>(&["PUBSUB", "NUMSUB", "actory:all"]);
        asked.ok().map(|(_, number)| number)
    }

    /// Makes the replica the master, while both live.
    pub(crate) fn fail_over(&self) {
        self.sentinels[0].run(&["SENTINEL", "FAILOVER", NAME]);
    }
}
