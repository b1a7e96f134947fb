//! The measured window: messages, latency, and the CPU time and memory of the server process.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde::Serialize;

/// One run, printed as one line of JSON. Fields that a work does not measure are left out.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Name of the work.
    pub work: &'static str,
    /// Bytes of payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Connections held.
    pub connections: usize,
    /// Messages on their way at any time: per connection, or of the publisher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<usize>,
    /// Messages (deliveries, handshakes) in the window.
    pub messages: u64,
    /// Length of the window.
    pub seconds: f64,
    /// Messages a second.
    pub throughput: f64,
    /// CPU microseconds of the server process, user and system, all its threads, per message.
    pub cpu_us_per_message: f64,
    /// Share of one core that the server took in the window.
    pub server_cpu: f64,
    /// Share of one core that this generator took in the window.
    pub generator_cpu: f64,
    /// Share of one core that everything else on the machine took: above some hundredths the run was disturbed.
    pub others_cpu: f64,
    /// CPU microseconds of Redis per message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_us_per_message: Option<f64>,
    /// Share of one core that the servers took in the window which no message was for, all of them together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bystanders_cpu: Option<f64>,
    /// The same before, while there was no message at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bystanders_idle_cpu: Option<f64>,
    /// CPU microseconds that they took for each message: the excess over before, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bystanders_us_per_message: Option<f64>,
    /// Median latency, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<f64>,
    /// 99th percentile, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<f64>,
    /// 99.9th percentile, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p999_us: Option<f64>,
    /// Worst, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_us: Option<f64>,
    /// Resident bytes of the server process after each step of connections: `[connections, bytes]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rss: Vec<(usize, u64)>,
    /// Bytes a connection: the slope from the first step to the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_connection: Option<f64>,
    /// Connections that were still there, and answered, at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alive: Option<usize>,
    /// Pings of the server that were answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pings: Option<u64>,
    /// Messages of the window that did not come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<u64>,
    /// Connections that the server ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead: Option<usize>,
}

/// The processes whose CPU time counts, by their ids.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The server that the messages go to.
    pub server: i32,
    /// The Redis behind it.
    pub redis: Option<i32>,
    /// Servers on the same Redis that no message is for.
    pub bystanders: Vec<i32>,
    /// Other processes of the run: what they take is no disturbance.
    pub partners: Vec<i32>,
}

impl Watched {
    /// Share of one core that the bystanders take over `span` from now, during which this thread sleeps.
    pub fn idle(&self, span: Duration) -> io::Result<f64> {
        let (start, before) = (Instant::now(), sum(&self.bystanders)?);
        std::thread::sleep(span);
        Ok((sum(&self.bystanders)? - before) as f64 / start.elapsed().as_nanos() as f64)
    }

    fn cpu(&self) -> io::Result<Cpu> {
        Ok(Cpu {
            server: process_nanos(self.server)?,
            redis: sum(self.redis.as_slice())?,
            bystanders: sum(&self.bystanders)?,
            partners: sum(&self.partners)?,
            own: nanos(ClockId::CLOCK_PROCESS_CPUTIME_ID)?,
            machine: machine_busy()?,
        })
    }
}

/// CPU time at one moment, nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Cpu {
    server: u64,
    redis: u64,
    bystanders: u64,
    partners: u64,
    own: u64,
    machine: u64,
}

/// Counts between the end of the warm-up and the end of the window; events outside are not counted.
pub struct Meter {
    base: Instant,
    watched: Watched,
    open_at: u64,
    end_at: u64,
    started: Option<(u64, Cpu)>,
    count: u64,
    latency: Histogram<u64>,
}

impl Meter {
    /// A window of `seconds` that opens after `warmup`, from now.
    pub fn new(watched: Watched, warmup: Duration, seconds: Duration) -> io::Result<Meter> {
        let open_at = warmup.as_nanos() as u64;
        Ok(Meter {
            base: Instant::now(),
            watched,
            open_at,
            end_at: open_at + seconds.as_nanos() as u64,
            started: None,
            count: 0,
            // 100 ns to 2 minutes, in three digits.
            latency: Histogram::new_with_bounds(100, 120_000_000_000, 3).map_err(io::Error::other)?,
        })
    }

    /// Nanoseconds since the meter was made.
    #[inline]
    pub fn now(&self) -> u64 {
        self.base.elapsed().as_nanos() as u64
    }

    /// Once a turn: opens the window when it is time; `false` when it is over.
    pub fn running(&mut self) -> io::Result<bool> {
        let now = self.now();
        if self.started.is_none() && now >= self.open_at {
            // The window's length counts from when it really opened.
            self.end_at += now - self.open_at;
            self.started = Some((now, self.watched.cpu()?));
        }
        Ok(now < self.end_at)
    }

    /// True if this moment was before the window opened.
    pub fn is_before_window(&self, at: u64) -> bool {
        self.started.is_none_or(|(start, _)| at < start)
    }

    /// One message that took `nanos`.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        if self.started.is_some() {
            self.count += 1;
            self.latency.saturating_record(nanos);
        }
    }

    /// Closes the window.
    pub fn report(self, work: &'static str) -> io::Result<Report> {
        let now = self.now();
        let Some((start, before)) = self.started else {
            return Err(io::Error::other("the window never opened"));
        };
        let after = self.watched.cpu()?;
        let nanos = (now - start) as f64;
        let server = (after.server - before.server) as f64;
        let redis = (after.redis - before.redis) as f64;
        let bystanders = (after.bystanders - before.bystanders) as f64;
        let partners = (after.partners - before.partners) as f64;
        let own = (after.own - before.own) as f64;
        let machine = after.machine.saturating_sub(before.machine) as f64;
        let micros = |q: f64| (self.count > 0).then(|| self.latency.value_at_quantile(q) as f64 / 1e3);
        Ok(Report {
            work,
            messages: self.count,
            seconds: nanos / 1e9,
            throughput: self.count as f64 / (nanos / 1e9),
            cpu_us_per_message: server / 1e3 / self.count as f64,
            server_cpu: server / nanos,
            generator_cpu: own / nanos,
            others_cpu: ((machine - server - redis - bystanders - partners - own) / nanos).max(0.0),
            redis_us_per_message: self.watched.redis.map(|_| redis / 1e3 / self.count as f64),
            bystanders_cpu: (!self.watched.bystanders.is_empty()).then_some(bystanders / nanos),
            p50_us: micros(0.5),
            p99_us: micros(0.99),
            p999_us: micros(0.999),
            max_us: micros(1.0),
            ..Report::default()
        })
    }
}

fn nanos(clock: ClockId) -> io::Result<u64> {
    let time = clock_gettime(clock)?;
    Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// The process clock counts every thread, those that have ended too, in nanoseconds; /proc/<pid>/stat has ticks of 10 ms.
fn process_nanos(pid: i32) -> io::Result<u64> {
    nanos(clock_getcpuclockid(Pid::from_raw(pid))?)
}

fn sum(pids: &[i32]) -> io::Result<u64> {
    pids.iter().map(|&pid| process_nanos(pid)).sum()
}

/// Nanoseconds that all cores were busy, from the ticks (10 ms) of /proc/stat.
fn machine_busy() -> io::Result<u64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let ticks = stat.split_whitespace().skip(1).take(8).map(|field| field.parse().unwrap_or(0u64));
    // user nice system idle iowait irq softirq steal
    Ok(ticks.enumerate().filter(|(i, _)| !matches!(i, 3 | 4)).map(|(_, t)| t).sum::<u64>() * 10_000_000)
}

/// Resident bytes of a process, exact: `VmRSS` lags by what each core has not added yet, some 100 KiB.
pub fn resident_bytes(pid: i32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other("no Rss line in smaps_rollup"))
}
