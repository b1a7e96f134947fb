//! The catalogues of codes and options, so that JavaScript, the documentation and the tests share the one truth.

use codes::close::{CLOSE_CODES, SENDABLE};
use codes::error::ERROR_CODES;
use napi_derive::napi;

use super::options::option_paths;

/// An error code.
#[napi(object)]
pub(super) struct NativeErrorCode {
    /// `ERR_…`
    pub code: String,
    /// Its meaning.
    pub meaning: String,
}

/// A close code.
#[napi(object)]
pub(super) struct NativeCloseCode {
    /// Number on the wire.
    pub code: u32,
    /// Name in `CloseCode`.
    pub name: String,
    /// Its meaning.
    pub meaning: String,
    /// Advice to the client: `reconnect`, `refresh` or `stop`.
    pub advice: String,
}

/// Everything that has a stable name.
#[napi(object)]
pub(super) struct NativeCatalogue {
    /// Error codes.
    pub error_codes: Vec<NativeErrorCode>,
    /// Close codes.
    pub close_codes: Vec<NativeCloseCode>,
    /// First and last of each range of close codes that may be sent.
    pub sendable_codes: Vec<Vec<u32>>,
    /// Full paths of all options.
    pub options: Vec<String>,
}

/// See [`NativeCatalogue`].
#[napi(catch_unwind)]
pub(super) fn catalogue() -> NativeCatalogue {
    let error_codes = ERROR_CODES
        .iter()
        .map(|(code, meaning)| NativeErrorCode { code: (*code).into(), meaning: (*meaning).into() })
        .collect();
    let close_codes = CLOSE_CODES
        .iter()
        .map(|info| NativeCloseCode {
            code: info.code.into(),
            name: info.name.into(),
            meaning: info.meaning.into(),
            advice: info.advice.as_str().into(),
        })
        .collect();
    NativeCatalogue {
        error_codes,
        close_codes,
        sendable_codes: SENDABLE
            .iter()
            .map(|range| vec![(*range.start()).into(), (*range.end()).into()])
            .collect(),
        options: option_paths().into_iter().map(Into::into).collect(),
    }
}
