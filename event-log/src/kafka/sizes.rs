//! How large a record a topic takes: asked once Kafka has refused one, so that its sender learns the limit.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::client::Context;
use crate::TopicName;
use crate::limits::{KAFKA_LOOK_TIMEOUT, KAFKA_SIZES_KEPT};

/// The limits of topics that have refused a record.
pub(super) struct Sizes {
    admin: Arc<AdminClient<Context>>,
    runtime: Handle,
    known: Mutex<HashMap<TopicName, Known>>,
}

struct Known {
    max: Option<usize>,
    since: Instant,
}

impl fmt::Debug for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sizes")
    }
}

impl Sizes {
    pub(super) fn new(admin: Arc<AdminClient<Context>>, runtime: Handle) -> Self {
        Self { admin, runtime, known: Mutex::default() }
    }

    /// Tells `then` how many bytes a record of `topic` may have; `None` if Kafka does not say. For threads of librdkafka,
    /// which must not wait.
    pub(super) fn ask(self: &Arc<Self>, topic: TopicName, then: impl FnOnce(Option<usize>) + Send + 'static) {
        let sizes = self.clone();
        self.runtime.spawn(async move { then(sizes.of(topic).await) });
    }

    async fn of(&self, topic: TopicName) -> Option<usize> {
        // One question for all that were refused together.
        let mut known = self.known.lock().await;
        known.retain(|_, known| known.since.elapsed() < KAFKA_SIZES_KEPT);
        if let Some(known) = known.get(&topic) {
            return known.max;
        }
        let options = AdminOptions::new().request_timeout(Some(KAFKA_LOOK_TIMEOUT));
        let asked = [ResourceSpecifier::Topic(topic.as_str())];
        let told = self.admin.describe_configs(&asked, &options).await.unwrap_or_default();
        let max = told.into_iter().find_map(|config| {
            config.ok()?.get("max.message.bytes").and_then(|entry| entry.value.as_ref()?.parse().ok())
        });
        known.insert(topic, Known { max, since: Instant::now() });
        max
    }
}
