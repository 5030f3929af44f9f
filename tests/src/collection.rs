//! Waiting for collection.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Registry, process::PATIENCE};

/// How often it is asked.
const PERIOD: Duration = Duration::from_millis(100);

/// Waits until the registry is empty and collection found nothing more to look at; its status then.
///
/// # Panics
/// If something is left for longer than [`PATIENCE`].
pub async fn settled(registry: &Registry) -> Value {
    let client = registry.client();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = client.get("/v2/_orlop/gc").await.expect(200).json();
        let catalog = client.get("/v2/_catalog").await.expect(200).json();
        // What is looked at in a run is all that is on the table.
        if catalog["repositories"] == json!([]) && status["last"]["looked_at"] == 0 {
            return status;
        }
        assert!(Instant::now() < deadline, "garbage is left: {status}, {catalog}");
        tokio::time::sleep(PERIOD).await;
    }
}

/// Waits until no upload is open any more. One that was left is discarded a little later than the garbage from before
/// the last start: it counts as touched by that.
///
/// # Panics
/// If one is left for longer than [`PATIENCE`].
pub async fn without_uploads(registry: &Registry) {
    let client = registry.client();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = client.get("/metrics").await.expect(200);
        if String::from_utf8_lossy(&metrics.body).lines().any(|line| line == "orlop_uploads_open 0") {
            return;
        }
        assert!(Instant::now() < deadline, "uploads are left open");
        tokio::time::sleep(PERIOD).await;
    }
}
