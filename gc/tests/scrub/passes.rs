//! Passes that stop and go on, in the foreground and in the background.

use std::{collections::BTreeSet, time::Duration};

use orlop_engine::{Batch, Removal};
use orlop_gc::{Flow, Options, PassReport, Rules, ScrubOptions, Scrubber, scrub};

use crate::{common::*, places::*};

const BLOBS: u64 = 150;

/// A pass that is stopped again and again, each time by another process, looks at everything once.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_pass_goes_on_after_a_restart() {
    let place = Place::simulated();
    let engine = place.open().await;
    let mut size = 0;
    for number in 0..BLOBS {
        push(&engine, &namespace("app"), &content(number)).await.expect("pushed");
        size += content(number).len() as u64;
    }
    engine.close().await.expect("closed");
    let mut blobs = BTreeSet::new();
    for stops in 1.. {
        let engine = place.open().await;
        let begun = engine.passes().await.expect("read").current.map_or(0, |pass| pass.blobs);
        let mut for_a_while = |so_far: &PassReport| match so_far.blobs >= begun + 40 {
            true => Flow::Break(()),
            false => Flow::Continue(()),
        };
        let report = scrub(&engine, &ScrubOptions::default(), true, &mut for_a_while).await.expect("scrubs");
        engine.close().await.expect("closed");
        if report.ended_unix_ms.is_some() {
            assert_eq!(report.blobs, BLOBS, "after {stops} parts");
            // The read at which it was stopped is made again.
            assert!(report.bytes >= size && report.bytes < size + stops * 400, "{} of {size}", report.bytes);
            assert!(stops >= 4, "it was stopped");
            break;
        }
        assert!(blobs.insert(report.blobs), "it came further");
    }
    let engine = place.open().await;
    let passes = engine.passes().await.expect("read");
    assert_eq!(passes.current, None);
    assert_eq!(passes.last.expect("one ended").blobs, BLOBS);
    place.check(engine).await;
}

/// A slow pass in the background is stopped at once and taken up again.
#[tokio::test(flavor = "multi_thread")]
async fn the_background_stops_at_once_and_goes_on() {
    let place = Place::simulated();
    let engine = place.open().await;
    for number in 0..BLOBS {
        push(&engine, &namespace("app"), &content(number)).await.expect("pushed");
    }
    // A second's worth at once, and then the next blob after a day.
    let slow = ScrubOptions { interval: None, rate_bytes_max: Some(1) };
    let scrubber = Scrubber::new(engine.clone(), slow);
    let scrubbing = scrubber.spawn().expect("a thread");
    assert!(scrubber.start());
    while scrubber.status().running.is_none_or(|pass| pass.bytes == 0) {
        tokio::task::yield_now().await;
    }
    assert!(!scrubber.start(), "one is under way");
    scrubbing.stop().await;
    let status = scrubber.status();
    assert_eq!((status.passes, status.running), (0, None));
    assert!(status.interrupted.is_some_and(|pass| pass.blobs < BLOBS), "{status:?}");
    engine.close().await.expect("closed");

    let engine = place.open().await;
    let scrubber = Scrubber::new(engine.clone(), ScrubOptions::default());
    let scrubbing = scrubber.spawn().expect("a thread");
    scrubber.start();
    while scrubber.status().passes == 0 {
        tokio::task::yield_now().await;
    }
    scrubbing.stop().await;
    let status = scrubber.status();
    assert_eq!((status.interrupted, status.error), (None, None));
    assert_eq!(status.last.expect("it ended").blobs, BLOBS);
    assert_eq!(engine.statistics().blobs_scrubbed, BLOBS, "by this process, from the first one on");
    place.check(engine).await;
}

/// Once the background has stopped, it holds nothing of the store: whoever waited may end the process.
#[tokio::test(flavor = "multi_thread")]
async fn the_background_holds_nothing_once_it_has_stopped() {
    const TIMES: u64 = 30;
    let place = Place::real();
    for _ in 0..TIMES {
        // The root is locked as long as anybody holds the store.
        let engine = place.open().await;
        let scrubber = Scrubber::new(engine.clone(), ScrubOptions::default());
        let scrubbing = scrubber.spawn().expect("a thread");
        engine.close().await.expect("closed");
        drop((engine, scrubber));
        scrubbing.stop().await;
    }
    place.check(place.open().await).await;
}

/// A pass that ended lately is not due, however often the process starts.
#[tokio::test(flavor = "multi_thread")]
async fn the_interval_is_counted_from_the_end_of_the_last_pass() {
    let place = Place::simulated();
    let engine = place.open().await;
    push(&engine, &namespace("app"), &content(1)).await.expect("pushed");
    pass(&engine).await;
    let day = ScrubOptions { interval: Some(Duration::from_secs(86_400)), rate_bytes_max: None };
    let scrubber = Scrubber::new(engine.clone(), day);
    let scrubbing = scrubber.spawn().expect("a thread");
    while scrubber.status().last.is_none() {
        tokio::task::yield_now().await;
    }
    scrubbing.stop().await;
    assert_eq!((scrubber.status().passes, scrubber.status().interval_s), (0, Some(86_400)));
    place.check(engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collected_content_leaves_the_list() {
    let place = Place::simulated();
    let engine = place.open().await;
    let ns = namespace("app");
    let digest = push(&engine, &ns, &content(1)).await.expect("pushed");
    place.flip(&file_of(&digest), 0).await;
    assert_eq!(pass(&engine).await.damaged, 1);
    let _ = engine.commit(Batch::new(ns.clone()).remove(digest, Removal::Always)).await.expect("removed");
    advance(&engine, 3).await;
    let keep = std::sync::Arc::new(Rules::default());
    collect(&engine, &Options { delay: 0, document_delay: 0, keep, ..Options::default() }).await;
    assert!(listed(&engine).await.is_empty());
    assert_eq!(engine.statistics().blobs_collected, 1);
    place.check(engine).await;
}

/// A pass that crawls goes on as fast as it is told to meanwhile, and one that begins by itself stops when that is
/// switched off.
#[tokio::test(flavor = "multi_thread")]
async fn other_options_hold_for_the_pass_under_way() {
    let place = Place::simulated();
    let engine = place.open().await;
    for number in 0..BLOBS {
        push(&engine, &namespace("app"), &content(number)).await.expect("pushed");
    }
    let crawling = |interval| ScrubOptions { interval, rate_bytes_max: Some(1) };
    let scrubber = Scrubber::new(engine.clone(), crawling(None));
    let scrubbing = scrubber.spawn().expect("a thread");
    assert!(scrubber.start());
    until(|| scrubber.status().running.is_some_and(|pass| pass.bytes > 0)).await;
    let slower = ScrubOptions { interval: None, rate_bytes_max: Some(2) };
    scrubber.change(slower);
    until(|| scrubber.status().rate_bytes_max == Some(2) && scrubber.status().running.is_some()).await;
    scrubber.change(ScrubOptions { interval: None, rate_bytes_max: None });
    until(|| scrubber.status().passes == 1).await;
    assert_eq!(scrubber.status().last.expect("it ended").blobs, BLOBS, "it was asked for, and came to its end");

    scrubber.change(crawling(Some(Duration::from_millis(1))));
    until(|| scrubber.status().running.is_some_and(|pass| pass.bytes > 0)).await;
    scrubber.change(crawling(None));
    until(|| scrubber.status().running.is_none()).await;
    let status = scrubber.status();
    assert!(status.interrupted.is_some() && status.passes == 1 && status.interval_s.is_none(), "{status:?}");
    scrubbing.stop().await;
    place.check(engine).await;
}

async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("in time");
}
