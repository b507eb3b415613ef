//! Wakes a worker at a due time. `epoll` counts in milliseconds, which would be the largest error of a quick answer.

use std::io;
use std::time::Duration;

use mio::{Registry, Token};

/// A timer that makes `poll` return, with nanosecond resolution where the system has one.
#[derive(Debug)]
pub struct WakeTimer {
    #[cfg(target_os = "linux")]
    timer: std::os::fd::OwnedFd,
}

#[cfg(target_os = "linux")]
impl WakeTimer {
    /// Registers a timer under `token`.
    ///
    /// # Errors
    /// When the system has none left.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        use std::os::fd::AsRawFd;

        use mio::unix::SourceFd;
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, mio::Interest::READABLE)?;
        Ok(Self { timer })
    }

    /// Sets the timer; returns the time-out that `poll` should still be given.
    ///
    /// # Errors
    /// When the system refuses the time.
    pub fn set(&self, wait: Duration) -> io::Result<Duration> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let wait = wait.max(Duration::from_nanos(1)); // Zero would switch the timer off.
        let value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let once = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        // The event is edge-triggered and every setting re-arms it, so the expiry count is never read.
        Ok(wait + Duration::from_millis(100))
    }
}

#[cfg(not(target_os = "linux"))]
impl WakeTimer {
    /// There is only the time-out of `poll`, in whole milliseconds.
    ///
    /// # Errors
    /// Never.
    pub fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
        Ok(Self {})
    }

    /// Returns the time-out that `poll` should be given.
    ///
    /// # Errors
    /// Never.
    pub fn set(&self, wait: Duration) -> io::Result<Duration> {
        Ok(wait)
    }
}
