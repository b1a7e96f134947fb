//! Names that nobody guesses and no two get.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::time_of_day::unix_ms;

/// 128 random bits in 22 characters.
pub(crate) fn random_name() -> String {
    let mut bytes = [0; 16];
    // Only fails where the system has no randomness at all; the name is an address then, not yet a secret.
    if getrandom::fill(&mut bytes).is_err() {
        bytes[..8].copy_from_slice(&unix_ms().to_ne_bytes());
    }
    URL_SAFE_NO_PAD.encode(bytes)
}
