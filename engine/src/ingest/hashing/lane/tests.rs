//! Lanes and threads together: order, waiting, giving up, and a hash that panics.

use std::{
    pin::pin,
    task::{Context, Waker},
};

use super::*;
use crate::{Algorithm, Digest, io::Pool};

const LARGE: usize = 128 << 10;

fn content(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251 + seed) as u8).collect()
}

fn buffer(pool: &Pool, bytes: &[u8]) -> Buffer {
    let mut buffer = pool.try_take(bytes.len()).expect("the pool has no limit");
    assert_eq!(buffer.extend(bytes), bytes.len());
    buffer
}

fn lane(threads: &HashThreads) -> Lane {
    Lane::new(threads, Passing::new(Algorithm::Sha256))
}

/// Gives all of `content` to the lane, in buffers of sizes that follow from `seed`.
fn push_all(lane: &Lane, pool: &Pool, content: &[u8], seed: usize) -> Vec<Hashed> {
    let mut hashed = Vec::new();
    let mut start = 0;
    while start < content.len() {
        let len = (1 + (seed + start) * 7919 % (3 * LARGE)).min(content.len() - start);
        hashed.push(lane.push(start as u64, buffer(pool, &content[start..start + len])));
        start += len;
    }
    hashed
}

/// Stops the only thread at this lane, before whatever is pushed to others, until the guard goes.
fn stop(lane: &Lane) -> MutexGuard<'_, State> {
    let mut state = lane.shared.state();
    state.is_scheduled = true;
    lane.threads.schedule(lane.shared.clone());
    state
}

async fn digest(lane: &Lane) -> Digest {
    lane.settle().await;
    lane.look(|passing| passing.hasher.clone().finish()).expect("nothing panicked")
}

#[tokio::test]
async fn buffers_are_hashed_in_order_whoever_else_has_some() {
    let pool = Pool::new(usize::MAX);
    for count in [0, 1, 3] {
        let threads = HashThreads::start(count).expect("started");
        let contents: Vec<_> = (0..9).map(|seed| content(seed, 1_500_000)).collect();
        let lanes: Vec<_> = contents.iter().map(|_| lane(&threads)).collect();
        let given = lanes.iter().zip(&contents).enumerate();
        let hashed: Vec<_> = given.map(|(seed, (lane, content))| push_all(lane, &pool, content, seed)).collect();
        for ((lane, content), hashed) in lanes.iter().zip(&contents).zip(hashed) {
            assert_eq!(digest(lane).await, Digest::of(Algorithm::Sha256, content));
            let mut returned = Vec::new();
            for buffer in hashed {
                returned.extend_from_slice(buffer.into_buffer().await.expect("hashed").filled());
            }
            assert!(returned == *content, "each buffer comes back as it was given");
        }
        assert_eq!(pool.bytes_out(), 0);
    }
}

#[tokio::test]
async fn little_is_hashed_at_once_but_never_before_what_waits() {
    let pool = Pool::new(usize::MAX);
    let threads = HashThreads::start(1).expect("started");
    let (busy, lane) = (lane(&threads), lane(&threads));
    let content = content(1, LARGE + 20);
    assert!(lane.push(0, buffer(&pool, &content[..10])).try_into_buffer().is_ok());
    let waiting = {
        let _stopped = stop(&busy);
        let large = lane.push(10, buffer(&pool, &content[10..LARGE + 10]));
        let small = lane.push(LARGE as u64 + 10, buffer(&pool, &content[LARGE + 10..]));
        let settled = pin!(lane.settle());
        assert!(settled.poll(&mut Context::from_waker(Waker::noop())).is_pending(), "no thread came yet");
        [large, small].map(|hashed| hashed.try_into_buffer().expect_err("waits for a thread"))
    };
    for hashed in waiting {
        drop(hashed.into_buffer().await.expect("hashed"));
    }
    assert_eq!(digest(&lane).await, Digest::of(Algorithm::Sha256, &content));
}

#[tokio::test]
async fn an_upload_that_goes_away_gives_its_buffers_back() {
    let pool = Pool::new(usize::MAX);
    let threads = HashThreads::start(1).expect("started");
    let (busy, lane) = (lane(&threads), lane(&threads));
    let waiting = {
        let _stopped = stop(&busy);
        let push = |number: u64| lane.push(number * LARGE as u64, buffer(&pool, &content(2, LARGE)));
        let waiting: Vec<_> = (0..5).map(push).collect();
        assert_eq!(pool.bytes_out(), 5 * LARGE);
        drop(lane);
        assert_eq!(pool.bytes_out(), 0, "nothing of it is hashed any more");
        waiting
    };
    for hashed in waiting {
        assert!(hashed.into_buffer().await.is_err());
    }
    busy.settle().await;
}

#[tokio::test]
async fn a_hash_that_panics_costs_its_upload_and_no_other() {
    let pool = Pool::new(usize::MAX);
    let threads = HashThreads::start(1).expect("started");
    let (busy, broken, lane) = (lane(&threads), lane(&threads), lane(&threads));
    let content = content(4, LARGE);
    let (waiting, other) = {
        let _stopped = stop(&busy);
        // Bytes that were left out are what makes it panic.
        let panics = broken.push(1, buffer(&pool, &content));
        let behind = broken.push(LARGE as u64 + 1, buffer(&pool, &content));
        ([panics, behind], lane.push(0, buffer(&pool, &content)))
    };
    for hashed in waiting {
        assert!(hashed.into_buffer().await.is_err());
    }
    broken.settle().await;
    assert!(broken.look(|passing| passing.bytes).is_err());
    assert!(broken.push(0, buffer(&pool, &content)).into_buffer().await.is_err(), "it stays broken");
    drop(other.into_buffer().await.expect("the thread goes on"));
    assert_eq!(digest(&lane).await, Digest::of(Algorithm::Sha256, &content));
    assert_eq!(pool.bytes_out(), 0);
}
