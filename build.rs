//! Links the addon the way Node loads it; does nothing for the engine alone.
fn main() {
    #[cfg(feature = "node")]
    napi_build::setup();
}
