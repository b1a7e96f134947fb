//! Errors on their way to JavaScript: of the right class, with a stable `code`.

use codes::error::{self, Code, ErrorClass};
use napi::{Env, Error, Status};

/// Throws `message` as the class that belongs to `code`, and answers the error that a binding method returns then.
pub(super) fn throw(env: &Env, code: Code, message: &str) -> Error {
    // A NUL would end the message in C, and napi refuses it.
    let message = &message.replace('\0', "\\0");
    let thrown = match code.class() {
        ErrorClass::Type => env.throw_type_error(message, Some(code.as_str())),
        ErrorClass::Range => env.throw_range_error(message, Some(code.as_str())),
        ErrorClass::Error => env.throw_error(message, Some(code.as_str())),
    };
    match thrown {
        Ok(()) => Error::new(Status::PendingException, String::new()),
        Err(error) => error,
    }
}

/// [`throw`] for an error of the engine.
pub(super) fn throw_error(env: &Env, error: &error::Error) -> Error {
    throw(env, error.kind, &error.message)
}
