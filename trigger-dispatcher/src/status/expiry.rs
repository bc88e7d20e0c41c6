//! Events that the log let go before their end, and those that it soon will: one that others share keeps to its own retention.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use pelton_event::Timestamp;
use pelton_resources::NamespacedName;

use crate::core::{Expired, TriggerCounters};
use crate::limits;

/// What a broker task knows of it.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// The age at which the log lets events go, owed or not; `None`: it spares what is owed.
    lifetime: Option<Duration>,
    /// The newest stretches, oldest first.
    lost: VecDeque<Expired>,
    /// Triggers whose oldest event is about to be let go, and what is to be said of them.
    threats: BTreeMap<NamespacedName, String>,
}

impl Expiry {
    pub(super) fn set_lifetime(&mut self, lifetime: Option<Duration>) {
        self.lifetime = lifetime;
    }

    /// Events are lost. Answers whether they do not just continue a known stretch.
    pub(super) fn note(&mut self, expired: Expired) -> bool {
        let continues = |known: &&mut Expired| {
            (&known.trigger, known.partition) == (&expired.trigger, expired.partition)
                && known.offsets.start <= expired.offsets.start
                && expired.offsets.start <= known.offsets.end
        };
        if let Some(known) = self.lost.iter_mut().find(continues) {
            known.offsets.end = known.offsets.end.max(expired.offsets.end);
            return false;
        }
        if self.lost.len() >= limits::EXPIRED_STRETCHES {
            self.lost.pop_front();
        }
        self.lost.push_back(expired);
        true
    }

    /// What a trigger has lost, the newest first.
    pub(super) fn lost_of(&self, trigger: &NamespacedName) -> Option<String> {
        let mut text = String::new();
        let concerns = |lost: &&Expired| lost.trigger.as_ref().is_none_or(|of| of == trigger);
        for Expired { partition, offsets, .. } in self.lost.iter().filter(concerns).rev() {
            let separator = if text.is_empty() { "" } else { "\n" };
            let _ =
                write!(text, "{separator}partition {partition}, {} to {}", offsets.start, offsets.end - 1);
        }
        (!text.is_empty()).then_some(text)
    }

    /// What a trigger is about to lose.
    pub(super) fn threat_to(&self, trigger: &NamespacedName) -> Option<String> {
        self.threats.get(trigger).cloned()
    }

    fn threat(lifetime: Duration, oldest: Timestamp, now: Timestamp) -> Option<String> {
        let age = now.since(oldest);
        (age >= lifetime.mul_f64(limits::EXPIRY_WARNING)).then(|| {
            format!(
                "the oldest event that it owes is {} old; the log keeps events for {}",
                told(age),
                told(lifetime)
            )
        })
    }

    /// Looks which triggers are about to lose events. Answers those that were not a moment ago, with what is to be said.
    pub(super) fn look<'a>(
        &mut self,
        triggers: impl Iterator<Item = (&'a NamespacedName, &'a TriggerCounters)>,
        now: Timestamp,
    ) -> Vec<(NamespacedName, String)> {
        let Some(lifetime) = self.lifetime else { return Vec::new() };
        let threat = |(name, counters): (&'a NamespacedName, &'a TriggerCounters)| {
            Some((name.clone(), Self::threat(lifetime, counters.oldest()?, now)?))
        };
        let threats: BTreeMap<_, _> = triggers.filter_map(threat).collect();
        let before = std::mem::replace(&mut self.threats, threats);
        let is_new = |(name, _): &(&NamespacedName, &String)| !before.contains_key(*name);
        self.threats.iter().filter(is_new).map(|(name, text)| (name.clone(), text.clone())).collect()
    }
}

/// A duration for people.
fn told(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..7_200 => format!("{seconds} s"),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::testing::name;

    fn lost(trigger: Option<&str>, partition: u32, offsets: std::ops::Range<u64>) -> Expired {
        Expired { trigger: trigger.map(name), partition, offsets }
    }

    #[test]
    fn stretches_are_joined_and_the_newest_kept() {
        let mut expiry = Expiry::default();
        assert!(expiry.note(lost(Some("a"), 1, 5..6)));
        assert!(!expiry.note(lost(Some("a"), 1, 6..9)));
        assert!(!expiry.note(lost(Some("a"), 1, 7..8)), "it is known");
        assert!(expiry.note(lost(Some("b"), 1, 9..10)), "another trigger");
        assert!(expiry.note(lost(Some("a"), 2, 9..10)), "another partition");
        assert!(expiry.note(lost(None, 3, 0..7)));
        let of_a = "partition 3, 0 to 6\npartition 2, 9 to 9\npartition 1, 5 to 8";
        assert_eq!(expiry.lost_of(&name("a")).as_deref(), Some(of_a));
        assert_eq!(expiry.lost_of(&name("c")).as_deref(), Some("partition 3, 0 to 6"));
        for number in 0..100 {
            expiry.note(lost(Some("d"), 1, number * 10..number * 10 + 1));
        }
        assert_eq!(expiry.lost.len(), limits::EXPIRED_STRETCHES);
        assert_eq!(expiry.lost_of(&name("c")), None);
    }

    #[test]
    fn it_is_warned_once_before_an_event_is_lost() {
        let at = Timestamp::from_millis;
        let (trigger, counters) = (name("a"), TriggerCounters::default());
        let mut expiry = Expiry::default();
        let look = |expiry: &mut Expiry, now| expiry.look([(&trigger, &counters)].into_iter(), at(now)).len();
        counters.oldest.store(1_000, Relaxed);
        assert_eq!(look(&mut expiry, 1_000_000), 0, "the log spares what is owed");
        expiry.set_lifetime(Some(Duration::from_secs(100)));
        assert_eq!(look(&mut expiry, 80_000), 0);
        assert_eq!(look(&mut expiry, 81_000), 1);
        assert_eq!(look(&mut expiry, 82_000), 0, "it was said");
        let threat = expiry.threat_to(&trigger).unwrap();
        assert!(threat.contains("is 81 s old; the log keeps events for 100 s"), "{threat}");
        counters.oldest.store(82_000, Relaxed);
        assert_eq!(look(&mut expiry, 83_000), 0);
        assert_eq!(expiry.threat_to(&trigger), None);
        assert_eq!(look(&mut expiry, 182_000), 1, "anew");
    }
}
