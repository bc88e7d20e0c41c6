//! Whether Pelton can do its work: the answer to `/readyz`.

use std::sync::Arc;
use std::time::Duration;

use pelton_control::admin::ReadyCheck;
use pelton_event_log::{Batch, EventLog};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

/// So long an append proves that the next one works, too: probes must not make a load of their own.
const PROVEN_FOR: Duration = Duration::from_secs(1);
/// An append that takes longer is no proof.
const APPEND_TIMEOUT: Duration = Duration::from_secs(5);

/// A check that appends an empty batch, which is made durable as any other, and asks the ingress, if there is one.
/// `serving` turns true when the ingress takes requests.
pub(super) fn check(
    log: Arc<dyn EventLog>,
    ingress: Option<pelton_broker::Handle>,
    serving: watch::Receiver<bool>,
) -> ReadyCheck {
    let proven: Arc<Mutex<Option<Instant>>> = Arc::default();
    Arc::new(move || {
        let (log, ingress, proven) = (log.clone(), ingress.clone(), proven.clone());
        let is_serving = *serving.borrow();
        Box::pin(async move {
            ingress.map_or(Ok(()), |ingress| ingress.ready())?;
            if !is_serving {
                return Err("the triggers are being registered".to_owned());
            }
            let mut proven = proven.lock().await;
            if proven.is_some_and(|at| at.elapsed() < PROVEN_FOR) {
                return Ok(());
            }
            append(&*log).await?;
            *proven = Some(Instant::now());
            Ok(())
        })
    })
}

async fn append(log: &dyn EventLog) -> Result<(), String> {
    match timeout(APPEND_TIMEOUT, log.append(Batch::default())).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the log did not finish an append within {} s", APPEND_TIMEOUT.as_secs())),
    }
}
