//! The notice from the engine's threads to JavaScript's that there is something to drain.

use napi::bindgen_prelude::{Function, Result};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;

/// Makes a function for any thread of one of JavaScript's, which is then called there. It does not keep the event loop
/// alive.
pub(super) fn notifier(wake: Function<'_, (), ()>) -> Result<Box<dyn Fn() + Send + Sync>> {
    let wake = wake
        .build_threadsafe_function::<()>()
        .weak::<true>()
        .callee_handled::<false>()
        .max_queue_size::<1>()
        .build_callback(|_| Ok(()))?;
    Ok(Box::new(move || {
        // Full means that a call is on its way already; closing, that nobody is left to be told.
        wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
    }))
}
