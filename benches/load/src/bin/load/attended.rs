//! A runner at the other end of standard input: its first line is the cue to begin, its end is the end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asks whether the runner wants more.
pub(crate) struct Attended(Arc<AtomicBool>);

impl Attended {
    /// Waits for the cue. Without a runner (`attended` is false) it is given at once, and never taken back.
    pub(crate) fn begin(attended: bool) -> io::Result<Attended> {
        let over = Arc::new(AtomicBool::new(false));
        if attended {
            io::stdin().read_line(&mut String::new())?;
            let told = Arc::clone(&over);
            std::thread::spawn(move || {
                // Nobody is there any more, whatever ends the input.
                let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
                told.store(true, Ordering::Relaxed);
            });
        }
        Ok(Attended(over))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
