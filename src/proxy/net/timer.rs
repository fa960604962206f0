//! Precise sleeps: never early, and late only by microseconds.
//!
//! tokio's timers and its poll both round up to whole milliseconds, which makes a sleep about two milliseconds late. So
//! the last stretch of a sleep uses a kernel timer (timerfd_create(2)). Systems without it are as late as tokio.

use std::time::{Duration, Instant};

/// The stretch left to the kernel timer, longer than tokio is late by.
const STRETCH: Duration = Duration::from_millis(3);

/// Waits until `deadline`.
pub(crate) async fn sleep_until(deadline: Instant) {
    if let Some(early) = deadline.checked_sub(STRETCH) {
        tokio::time::sleep_until(early.into()).await;
    }
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return;
    }
    #[cfg(target_os = "linux")]
    kernel::sleep(left).await;
    if Instant::now() < deadline {
        tokio::time::sleep_until(deadline.into()).await;
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// Waits for this long, or not at all if no file descriptor is left.
    pub(super) async fn sleep(time: Duration) {
        // The timer is readable when it expires.
        if let Ok(timer) = timer(time) {
            drop(timer.readable().await);
        }
    }

    #[expect(
        deprecated,
        reason = "sound for an OwnedFd, which keeps open what it names; the replacement is an unsafe function for all other types"
    )]
    fn timer(time: Duration) -> io::Result<AsyncFd<OwnedFd>> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: time.subsec_nanos().into(),
            },
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
        AsyncFd::with_interest(timer, Interest::READABLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_are_never_short() {
        for micros in [0, 1, 500, 2_999, 3_001, 7_500, 20_000] {
            let deadline = Instant::now() + Duration::from_micros(micros);
            sleep_until(deadline).await;
            assert!(Instant::now() >= deadline, "{micros} µs");
        }
    }
}
