//! The atomics and the lock of this folder: the real ones, or loom's when `tests/decision` explores every interleaving.

#[cfg(not(feature = "model"))]
pub use {
    parking_lot::Mutex,
    std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

#[cfg(feature = "model")]
pub use {
    loom::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    model::Mutex,
};

/// So many words that are zero. Their memory is asked for and not touched: what no buyer uses costs nothing.
#[cfg(not(feature = "model"))]
pub fn zeros(words: usize) -> Box<[AtomicU64]> {
    bytemuck::zeroed_slice_box(words)
}

/// So many words that are zero.
#[cfg(feature = "model")]
pub fn zeros(words: usize) -> Box<[AtomicU64]> {
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

/// Orders the looks into a map whose own locks loom does not see. Passing it is one access to one cell, and loom tries
/// every order of those; without the feature it is nothing.
#[derive(Debug, Default)]
pub struct SchedulePoint(#[cfg(feature = "model")] AtomicUsize);

impl SchedulePoint {
    /// Call it before each look or change.
    #[inline(always)]
    pub fn pass(&self) {
        #[cfg(feature = "model")]
        self.0.fetch_add(1, Ordering::SeqCst);
    }
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
