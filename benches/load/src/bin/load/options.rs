//! The command line.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use load::dialect::Dialect;
use load::meter::{Meter, Watched};
use load::net::Poll;
use load::peer::Target;

use crate::attack::Attack;

pub(crate) const USAGE: &str = "\
load WORK --port PORT --pid PID [options]      drives the WebSocket server on 127.0.0.1:PORT, whose process is PID

  echo         every connection keeps --in-flight messages of --size bytes on their way
  fanout       the first of --connections publishes with --in-flight messages on their way, all of them receive
  blocked      --rate messages a second over all connections, sent on time whatever comes back
  handshakes   --connections at a time connect, upgrade, close, again
  idle         opens connections up to each of --steps and reads the server's resident memory there
  flood        --connections write --attack again and again, as fast as they can, and come back when they are ended
  bystander    --rate messages a second over all connections, on time, while the server is flooded
  hold         --connections wait while the server blocks its JavaScript for --block-seconds, then must answer

  --path PATH          /api/websocket        --size BYTES          64, at least 2 (a JSON string)
  --connections N      50                    --in-flight N         16
  --warmup SECONDS     1                     --seconds SECONDS     3
  --rate PER_SECOND    5000                  --steps N,N,...       6000,12000,18000
  --settle SECONDS     1.5                   --touch               idle: each connection echoes one message first
  --block-seconds N    60                    --churn N             idle: opened and closed before the first step, 20000
  --redis PID          echo: its CPU time is told too
  --bystanders PID,... echo: theirs too, and what it is without messages, over --baseline SECONDS (3) after --settle
  --awake              echo, fanout: looks every 50 us instead of sleeping; waking it would cost the server
  --partners PID,...   other processes of the run: what they take of the machine is no disturbance
  --socket-io          messages are Socket.IO's
  --header LINE        of the upgrade request, `Name: value`
  --attack NAME        flood: pings, full-pings, pongs, fragments, halves, texts, no-json, echoes, large, binary, crumbs,
                       waits, silence, upgrades
  --deaf               flood: reads nothing
  --attended           flood, bystander: begins at a line from standard input; a flood ends with it

{n} in the path and the header stands for the number of the connection.";

/// The work to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Echo,
    Fanout,
    Idle,
    Handshakes,
    Blocked,
    Hold,
    Flood,
    Bystander,
}

impl Work {
    const ALL: [Work; 8] = [
        Work::Echo,
        Work::Fanout,
        Work::Idle,
        Work::Handshakes,
        Work::Blocked,
        Work::Hold,
        Work::Flood,
        Work::Bystander,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Work::Echo => "echo",
            Work::Fanout => "fanout",
            Work::Idle => "idle",
            Work::Handshakes => "handshakes",
            Work::Blocked => "blocked",
            Work::Hold => "hold",
            Work::Flood => "flood",
            Work::Bystander => "bystander",
        }
    }
}

/// A parsed command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) work: Work,
    pub(crate) target: Target,
    pub(crate) size: usize,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    pub(crate) rate: u64,
    pub(crate) steps: Vec<usize>,
    pub(crate) touch: bool,
    pub(crate) churn: usize,
    pub(crate) settle: Duration,
    pub(crate) block: Duration,
    pub(crate) baseline: Duration,
    pub(crate) watched: Watched,
    pub(crate) awake: bool,
    pub(crate) attack: Attack,
    pub(crate) deaf: bool,
    pub(crate) attended: bool,
    pub(crate) seconds: Duration,
    warmup: Duration,
}

impl Options {
    pub(crate) fn from_args() -> Result<Options, lexopt::Error> {
        let (mut work, mut port, mut pid) = (None, None, None);
        let (mut redis, mut bystanders, mut dialect) = (None, Vec::new(), Dialect::Plain);
        let mut path = "/api/websocket".to_owned();
        let (mut size, mut connections, mut in_flight, mut rate) = (64, 50, 16, 5000);
        let (mut warmup, mut seconds, mut settle, mut baseline, mut block) = (1.0, 3.0, 1.5, 3.0, 60.0);
        let (mut steps, mut touch, mut churn) = (vec![6000, 12_000, 18_000], false, 20_000);
        let (mut awake, mut deaf, mut attended) = (false, false, false);
        let (mut attack, mut header, mut partners) = (Attack::Pings, None, Vec::new());
        let mut args = Parser::from_env();
        while let Some(arg) = args.next()? {
            match arg {
                Arg::Value(name) if work.is_none() => {
                    work = Work::ALL.into_iter().find(|w| w.name() == name);
                    if work.is_none() {
                        return Err(format!("no work is called {name:?}").into());
                    }
                }
                Arg::Long("port") => port = Some(args.value()?.parse()?),
                Arg::Long("pid") => pid = Some(args.value()?.parse()?),
                Arg::Long("path") => path = args.value()?.string()?,
                Arg::Long("size") => size = args.value()?.parse()?,
                Arg::Long("connections") => connections = args.value()?.parse()?,
                Arg::Long("in-flight") => in_flight = args.value()?.parse()?,
                Arg::Long("rate") => rate = args.value()?.parse()?,
                Arg::Long("steps") => {
                    steps = numbers(&args.value()?.string()?)?;
                }
                Arg::Long("redis") => redis = Some(args.value()?.parse()?),
                Arg::Long("bystanders") => bystanders = numbers(&args.value()?.string()?)?,
                Arg::Long("baseline") => baseline = args.value()?.parse()?,
                Arg::Long("socket-io") => dialect = Dialect::SocketIo,
                Arg::Long("churn") => churn = args.value()?.parse()?,
                Arg::Long("awake") => awake = true,
                Arg::Long("attack") => {
                    let name = args.value()?.string()?;
                    attack = Attack::from_name(&name).ok_or(format!("no attack is called {name:?}"))?;
                }
                Arg::Long("deaf") => deaf = true,
                Arg::Long("attended") => attended = true,
                Arg::Long("header") => header = Some(args.value()?.string()?),
                Arg::Long("partners") => partners = numbers(&args.value()?.string()?)?,
                Arg::Long("touch") => touch = true,
                Arg::Long("warmup") => warmup = args.value()?.parse()?,
                Arg::Long("seconds") => seconds = args.value()?.parse()?,
                Arg::Long("settle") => settle = args.value()?.parse()?,
                Arg::Long("block-seconds") => block = args.value()?.parse()?,
                _ => return Err(arg.unexpected()),
            }
        }
        let pid = pid.ok_or("--pid is missing")?;
        let target = Target::new(port.ok_or("--port is missing")?, pid, &path, header.as_deref(), dialect);
        let work = work.ok_or("the work is missing")?;
        if size < 2
            || connections == 0
            || in_flight == 0
            || rate == 0
            || !steps.is_sorted()
            || steps.len() < 2
        {
            return Err("--size is at least 2, --steps rise, no number is 0".into());
        }
        let span = |seconds: f64| Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string());
        Ok(Options {
            work,
            target,
            awake,
            attack,
            deaf,
            attended,
            size,
            connections,
            in_flight,
            rate,
            steps,
            touch,
            churn,
            settle: span(settle)?,
            block: span(block)?,
            baseline: span(baseline)?,
            watched: Watched { server: pid, redis, bystanders, partners },
            warmup: span(warmup)?,
            seconds: span(seconds)?,
        })
    }

    /// Waits for something to come, at most `millis`.
    pub(crate) fn wait(&self, poll: &mut Poll, millis: u16, ready: &mut Vec<(u64, bool)>) -> io::Result<()> {
        if self.awake {
            poll.wait_awake(Duration::from_millis(millis.into()), ready)
        } else {
            poll.wait(Some(millis), ready)
        }
    }

    /// A meter whose warm-up begins now.
    pub(crate) fn meter(&self) -> io::Result<Meter> {
        Meter::new(self.watched.clone(), self.warmup, self.seconds)
    }
}

/// A list with commas.
fn numbers<T: FromStr>(list: &str) -> Result<Vec<T>, String> {
    list.split(',').map(|n| n.parse().map_err(|_| format!("{list}: {n:?} is no number"))).collect()
}
