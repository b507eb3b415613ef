//! The atomics and the locks of this folder: the real ones, or loom's when `model/tests` explores every interleaving.

#[cfg(not(feature = "model"))]
pub use {
    parking_lot::{Mutex, RwLock},
    std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

#[cfg(feature = "model")]
pub use {
    loom::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    model::{Mutex, RwLock},
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

    /// Loom's lock for many who look and one who changes, with the signature of parking_lot's.
    #[derive(Debug, Default)]
    pub struct RwLock<T>(loom::sync::RwLock<T>);

    impl<T> RwLock<T> {
        /// A lock around `value`.
        pub fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(value))
        }

        /// Waits until nobody changes it.
        pub fn read(&self) -> loom::sync::RwLockReadGuard<'_, T> {
            self.0.read().expect("no holder of this lock panics")
        }

        /// Waits for the lock.
        pub fn write(&self) -> loom::sync::RwLockWriteGuard<'_, T> {
            self.0.write().expect("no holder of this lock panics")
        }
    }
}
