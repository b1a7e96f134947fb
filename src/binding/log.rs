//! Lines on stderr of what the engine does, for an operator who asks for them with `ACTORY_WEBSOCKET_LOG`. A thread of their own
//! writes them: stderr may be a pipe that nobody reads, and no worker is to wait for that.

use std::io::{self, ErrorKind, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use codes::error::quote;
use napi::Env;
use napi::bindgen_prelude::{Object, Result};
use napi_derive::napi;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

const VARIABLE: &str = "ACTORY_WEBSOCKET_LOG";
const EXPECTED: &str =
    "expected error, warn, info, debug, off, or the like of actory_websocket::broker=debug";
/// The parts of the engine that tell.
const TARGETS: [&str; 3] = ["broker", "engine", "worker"];
/// Lines that wait at most, each of some hundred bytes.
const MAX_WAITING: usize = 1024;
/// The longest wait of an environment that ends for its last lines.
const PATIENCE: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(2);

static WAITING: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

#[napi(module_exports)]
pub(super) fn set_up(_: Object<'_>, env: Env) -> Result<()> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let value = std::env::var_os(VARIABLE).unwrap_or_default();
        let value = value.to_string_lossy();
        if !value.is_empty() && install(&value).is_none() {
            let _ = writeln!(io::stderr(), "{VARIABLE} is ignored: {EXPECTED}, got {}", quote(&value));
        }
    });
    env.add_env_cleanup_hook((), |()| {
        let deadline = Instant::now() + PATIENCE;
        while WAITING.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            thread::sleep(PAUSE);
        }
    })?;
    Ok(())
}

/// None where the value is of no use. Targets have to be ours: a misspelt level would pass for one. No level is a number, for `1`
/// looks like "on".
fn install(value: &str) -> Option<()> {
    let value = value.trim();
    let says_nothing = |part: &str| {
        let level = part.rsplit('=').next().unwrap_or_default().trim();
        level.is_empty() || level.parse::<u8>().is_ok()
    };
    (!value.split(',').any(says_nothing)).then_some(())?;
    let targets: Targets = value.parse().ok()?;
    let is_ours = |target: &str| {
        let mut parts = target.split("::");
        parts.next() == Some(env!("CARGO_CRATE_NAME"))
            && parts.next().is_none_or(|part| TARGETS.contains(&part))
    };
    targets.iter().all(|(target, _)| is_ours(target)).then_some(())?;
    let (queue, lines) = sync_channel(MAX_WAITING);
    thread::Builder::new().name("actory-ws-log".into()).spawn(|| write_down(lines)).ok()?;
    let lines = tracing_subscriber::fmt::layer().with_writer(move || LogLine(queue.clone()));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(targets).with(lines)).ok()
}

/// Takes a line, which comes in one piece.
struct LogLine(SyncSender<Vec<u8>>);

impl Write for LogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        WAITING.fetch_add(1, Ordering::AcqRel);
        if self.0.try_send(line.into()).is_err() {
            WAITING.fetch_sub(1, Ordering::AcqRel);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_down(lines: Receiver<Vec<u8>>) {
    for line in lines {
        put(&line);
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            put(format!("{VARIABLE}: {dropped} lines were dropped, for stderr was slow\n").as_bytes());
        }
        WAITING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Node, or a process that shares stderr, may have made it non-blocking.
fn put(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match io::stderr().write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(_) => return,
        }
    }
}
