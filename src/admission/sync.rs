//! The atomics and the lock of this folder: the real ones, or loom's when `tests/model.rs` explores every interleaving.

#[cfg(not(feature = "model"))]
pub use {
    parking_lot::Mutex,
    std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

#[cfg(feature = "model")]
pub use {
    loom::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    model::Mutex,
};

/// A point at which loom may run another thread. Claims call it before each look into their map, whose own locks loom
/// does not see; without the feature it is nothing.
#[inline(always)]
pub fn schedule_point() {
    #[cfg(feature = "model")]
    loom::thread::yield_now();
}

#[cfg(feature = "model")]
mod model {
    /// Loom's mutex with the signature of parking_lot's.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// A lock around `value`.
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        /// Waits for the lock.
        pub fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("no holder of this lock panics")
        }
    }
}
