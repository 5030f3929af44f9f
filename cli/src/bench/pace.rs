//! Uploads that take their time, as over a slow line.
//!
//! In: bytes per second. Out: when the next bytes are due. Being late is made up for: what is due is
//! counted from the start, so an upload takes its bytes divided by its rate, or longer where the
//! registry is the slower one.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{content::FRAME_BYTES_MAX, random::STEP_BYTES, workload::Amount};

/// Pieces in which the bytes of a second are sent: few enough that a thousand clients are no
/// burden themselves, and enough that each is seen to move.
const FRAMES_PER_SECOND: u64 = 8;

/// How long an upload takes if a number of them is asked for and no time.
const UPLOAD_SECONDS: f64 = 1.0;

/// How a workload's slow uploads go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slow {
    pub bytes_per_second: u64,
    /// Of each upload.
    pub bytes: u64,
}

impl Slow {
    /// Uploads that take the whole time, so that all are under way as long as anything is measured.
    pub fn new(bytes_per_second: u64, amount: Amount) -> Self {
        let seconds = match amount {
            Amount::Time(time) => time.as_secs_f64(),
            Amount::Requests(_) => UPLOAD_SECONDS,
        };
        Self { bytes_per_second, bytes: ((bytes_per_second as f64 * seconds) as u64).max(1) }
    }

    /// The pace of one of `count` clients; their pieces are due one after the other, not all at once.
    pub fn pace(self, index: u64, count: u64) -> Pace {
        let frame_bytes = (self.bytes_per_second / FRAMES_PER_SECOND) as usize / STEP_BYTES * STEP_BYTES;
        let frame_bytes = frame_bytes.clamp(STEP_BYTES, FRAME_BYTES_MAX);
        let between = frame_bytes as f64 / self.bytes_per_second as f64;
        let share = index as f64 / count.max(1) as f64;
        // A line has brought a piece when the time for it has passed.
        let delay = Duration::from_secs_f64(between * (1.0 + share));
        Pace { frame_bytes, between: Duration::from_secs_f64(between), delay }
    }
}

/// How one upload goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    frame_bytes: usize,
    /// From one frame to the next.
    between: Duration,
    /// Before the first frame.
    delay: Duration,
}

/// The clock of an upload under way; starts when it is first asked.
pub struct Pacer {
    pace: Pace,
    next: Option<Pin<Box<Sleep>>>,
}

impl Pacer {
    pub fn new(pace: Pace) -> Self {
        Self { pace, next: None }
    }

    /// Waits until the next frame is due; gives how many bytes it may have.
    pub fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        let Pace { frame_bytes, between, delay } = self.pace;
        let next = self.next.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + delay)));
        ready!(next.as_mut().poll(context));
        let due = next.deadline() + between;
        next.as_mut().reset(due);
        Poll::Ready(frame_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::bench::content::{KIB, MIB};

    #[test]
    fn uploads_last_as_long_as_the_time_and_come_one_after_the_other() {
        let slow = Slow::new(64 * KIB, Amount::Time(Duration::from_millis(2500)));
        assert_eq!(slow, Slow { bytes_per_second: 64 * KIB, bytes: 160 * KIB });
        assert_eq!(Slow::new(64 * KIB, Amount::Requests(7)).bytes, 64 * KIB);
        let pace = |index| slow.pace(index, 10);
        let between = Duration::from_millis(125);
        assert_eq!(pace(0), Pace { frame_bytes: 8 << 10, between, delay: between });
        assert_eq!(pace(5).delay, between + between / 2);
    }

    #[test]
    fn any_rate_is_made_of_frames_that_can_be_generated() {
        for rate in [1, 63, 1000, 12_345, 64 * KIB, 100 * MIB] {
            let pace = Slow::new(rate, Amount::Requests(1)).pace(0, 1);
            assert!(pace.frame_bytes.is_multiple_of(STEP_BYTES) && pace.frame_bytes <= FRAME_BYTES_MAX);
            let found = pace.frame_bytes as f64 / pace.between.as_secs_f64();
            assert!((found / rate as f64 - 1.0).abs() < 1e-3, "{rate} became {found}");
        }
    }

    #[tokio::test]
    async fn frames_are_due_from_the_start_on() {
        let pace = Slow::new(MIB, Amount::Requests(1)).pace(1, 2);
        let start = Instant::now();
        let mut pacer = Pacer::new(pace);
        for _ in 0..3 {
            assert_eq!(poll_fn(|context| pacer.poll_due(context)).await, pace.frame_bytes);
        }
        assert!(start.elapsed() >= pace.delay + 2 * pace.between, "{:?}", start.elapsed());
    }
}
