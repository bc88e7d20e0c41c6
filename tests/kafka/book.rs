//! What the tests of faults share: a broker with two triggers, a load, and the account book over both triggers.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use pelton_tests::account::{Balance, balance};
use pelton_tests::eventually;
use pelton_tests::fleet::{Fleet, PROCESS};
use pelton_tests::producer::{Load, Message, Running, Sent};
use pelton_tests::subscriber::{Behaviour, Receipt, Subscriber};

/// The triggers, one in the order of keys; both get every event.
pub(crate) const TRIGGERS: [&str; 2] = ["keyed", "unordered"];
/// Partitions of a broker.
pub(crate) const PARTITIONS: u64 = 6;
/// The window of a lane.
pub(crate) const WINDOW: u64 = 64;

/// A broker, the subscriber of its triggers, and what was sent to it.
pub(crate) struct Book {
    pub(crate) broker: &'static str,
    pub(crate) subscriber: Subscriber,
    sent: Sent,
    loads: u32,
}

impl Book {
    /// A book of `default/BROKER`; its subscriber does as `script` says.
    pub(crate) async fn new(
        broker: &'static str,
        script: impl Fn(&Receipt) -> Behaviour + Send + Sync + 'static,
    ) -> Self {
        Self { broker, subscriber: Subscriber::scripted(script).await, sent: Sent::default(), loads: 0 }
    }

    /// Processes over the broker on the Kafka at `servers`; `config` is added to the broker's ConfigMap.
    pub(crate) fn fleet(&self, servers: &str, config: &str) -> Fleet {
        let broker = self.broker;
        let mut yaml = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {broker}}}\n\
             data: {{default.topic.partitions: \"{PARTITIONS}\"{config}}}\n---\n\
             apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: {broker}}}\n\
             spec: {{config: {{apiVersion: v1, kind: ConfigMap, name: {broker}}}}}\n"
        );
        for order in TRIGGERS {
            let url = self.subscriber.url(&format!("/{PROCESS}/{order}"));
            yaml += &format!(
                "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {broker}-{order}, \
                 annotations: {{delivery.pelton.dev/order: {order}}}}}\nspec:\n  broker: {broker}\n  \
                 subscriber: {{uri: \"{url}\"}}\n  \
                 delivery: {{retry: 50, backoffPolicy: linear, backoffDelay: PT0.05S, timeout: PT10S}}\n"
            );
        }
        Fleet::new(&yaml, servers).with("PELTON__DISPATCH__LANE_WINDOW", &WINDOW.to_string())
    }

    /// Begins to send to a process; its end goes into the book by [`Book::close`].
    pub(crate) fn load(&mut self, ingress: SocketAddr) -> Running {
        self.loads += 1;
        let load = Load {
            broker: format!("default/{}", self.broker),
            event_type: "load".to_owned(),
            keys: 6,
            ..Load::new(format!("l{}", self.loads))
        };
        load.start(ingress)
    }

    /// Ends a load and enters what it sent.
    pub(crate) async fn close(&mut self, running: Running) {
        let sent = running.stop().await;
        let other: Vec<_> = sent.refused.keys().filter(|status| ![429, 503].contains(status)).collect();
        assert!(other.is_empty(), "refused otherwise than for a while: {:?}", sent.refused);
        self.sent.accepted.extend(sent.accepted);
        self.sent.unknown.extend(sent.unknown);
        self.sent.doubtful.extend(sent.doubtful);
    }

    /// What the triggers got, as one subscriber for each, whatever process has sent it.
    pub(crate) fn receipts(&self, order: &str) -> Vec<Receipt> {
        let mut receipts = self.subscriber.receipts();
        receipts.retain(|receipt| receipt.path.rsplit('/').next() == Some(order));
        receipts
    }

    /// Whether an event has come to the subscriber.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.subscriber.receipts().iter().any(|receipt| receipt.id() == id)
    }

    fn balance(&self, order: &str) -> Balance {
        let uncertain = self.sent.unknown.iter().chain(&self.sent.doubtful);
        balance(&self.sent.accepted, uncertain, &self.receipts(order))
    }

    /// Waits until every accepted event was taken by both triggers: as long as it takes, but not without progress. The balance
    /// of a long run takes a while itself, so it is drawn only once as much has come as is owed, and then with what comes.
    pub(crate) async fn settled(&self) {
        let enough = self.sent.accepted.len() * TRIGGERS.len();
        let mut seen = 0;
        loop {
            let is_over = seen >= enough && TRIGGERS.iter().all(|order| self.balance(order).lost.is_empty());
            if is_over {
                return;
            }
            let what = format!("something of {enough} deliveries comes after {seen}");
            seen = eventually(&what, async || {
                let count = self.subscriber.count();
                (count > seen).then_some(count)
            })
            .await;
        }
    }

    /// Nothing lost, nothing invented, order held; answers how many deliveries each trigger got again.
    pub(crate) fn judge(&self, what: &str) -> [u64; 2] {
        let repeated = TRIGGERS.map(|order| {
            let Balance { lost, invented, repeated, out_of_order } = self.balance(order);
            assert!(lost.is_empty(), "{what}, {order}: {} lost, such as {:?}", lost.len(), lost.first());
            assert!(invented.is_empty(), "{what}, {order}: {invented:?} were never sent");
            if order == "keyed" {
                assert!(out_of_order.is_empty(), "{what}: out of order: {:?}", out_of_order.first());
            }
            repeated
        });
        eprintln!(
            "{what}: {} events accepted and none lost, {} without an answer, {} answered 503 at some time; \
             deliveries made again: keyed {}, unordered {}",
            self.sent.accepted.len(),
            self.sent.unknown.len(),
            self.doubtful(),
            repeated[0],
            repeated[1]
        );
        repeated
    }

    /// Events that were answered 503 at least once: each time they may have been stored.
    pub(crate) fn doubtful(&self) -> usize {
        self.sent.doubtful.iter().collect::<BTreeSet<&Message>>().len()
    }

    /// How often events were answered 503.
    pub(crate) fn doubts(&self) -> u64 {
        self.sent.doubtful.len() as u64
    }
}

/// Waits until a load has got so many more events accepted.
pub(crate) async fn accepts(running: &Running, more: u64) {
    let before = running.accepted();
    let what = format!("{more} more events than {before} are accepted");
    eventually(&what, async || (running.accepted() >= before + more).then_some(())).await;
}

/// The process that a receipt came from.
pub(crate) fn sender(receipt: &Receipt) -> u32 {
    receipt.path.split('/').nth(1).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// A number from the environment, for the long form of a test.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
