//! Load generator: one thread, one epoll, frames masked beforehand. Prints one line of JSON a run.

mod attack;
mod attended;
mod blocked;
mod bystander;
mod echo;
mod fanout;
mod flood;
mod handshakes;
mod options;
mod park;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use load::net;
use options::{Options, Work};

/// No work takes this long; one that hangs ends.
const LIMIT: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let options = match Options::from_args() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", options.work.name());
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<String> {
    net::end_after(LIMIT);
    net::raise_descriptor_limit()?;
    let report = match options.work {
        Work::Echo => echo::run(options)?,
        Work::Fanout => fanout::run(options)?,
        Work::Idle => park::idle(options)?,
        Work::Handshakes => handshakes::run(options)?,
        Work::Blocked => blocked::run(options)?,
        Work::Hold => park::hold(options)?,
        Work::Bystander => bystander::run(options)?,
        Work::Flood => return Ok(serde_json::to_string(&flood::run(options)?)?),
    };
    Ok(serde_json::to_string(&report)?)
}
