//! The locks and atomics of the files that threads meet in without much of a lock: [`remote_queue`](super::remote_queue) and
//! [`writer`](super::writer). Their tests compile them a second time, with those of loom instead.

pub(super) use std::sync::atomic::{AtomicBool, Ordering};

pub(super) use parking_lot::{Mutex, MutexGuard};
