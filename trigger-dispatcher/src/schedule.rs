//! How long a delivery waits for its next attempt.

use std::time::Duration;

use pelton_resources::{BackoffPolicy, DeliveryPolicy};

/// The wait before retry `retry` (1, 2, …): ½ to 1 times the policy's back-off, at most `backoff_max`. `jitter` is drawn
/// evenly from 0 to 1.
#[must_use]
pub(crate) fn backoff(policy: &DeliveryPolicy, retry: u32, jitter: f64) -> Duration {
    let factor = match policy.backoff_policy {
        BackoffPolicy::Linear => 1,
        BackoffPolicy::Exponential => 1_u32.checked_shl(retry.saturating_sub(1)).unwrap_or(u32::MAX),
    };
    let longest = policy.backoff_delay.saturating_mul(factor).min(policy.backoff_max);
    let shortest = longest / 2;
    shortest + (longest - shortest).mul_f64(jitter.clamp(0.0, 1.0))
}

/// The wait before retry `retry` after a response that said `retry_after`: the longer of the back-off and of what the
/// response asked for, of which at most `retry_after_max` is heeded.
#[must_use]
pub(crate) fn wait(
    policy: &DeliveryPolicy,
    retry: u32,
    jitter: f64,
    retry_after: Option<Duration>,
) -> Duration {
    let asked = retry_after.unwrap_or_default().min(policy.retry_after_max);
    backoff(policy, retry, jitter).max(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(backoff_policy: BackoffPolicy, delay_ms: u64, max_ms: u64) -> DeliveryPolicy {
        DeliveryPolicy {
            backoff_policy,
            backoff_delay: Duration::from_millis(delay_ms),
            backoff_max: Duration::from_millis(max_ms),
            ..DeliveryPolicy::default()
        }
    }

    #[test]
    fn backoff_by_policy_and_retry() {
        use BackoffPolicy::{Exponential, Linear};
        // policy, delay, max, retry, shortest, longest (milliseconds)
        let cases = [
            (Exponential, 200, 600_000, 1, 100, 200),
            (Exponential, 200, 600_000, 2, 200, 400),
            (Exponential, 200, 600_000, 10, 51_200, 102_400),
            (Exponential, 200, 1_000, 4, 500, 1_000),
            (Exponential, 200, 600_000, 32, 300_000, 600_000),
            (Exponential, 200, 600_000, 33, 300_000, 600_000),
            (Exponential, 200, 600_000, u32::MAX, 300_000, 600_000),
            (Linear, 200, 600_000, 1, 100, 200),
            (Linear, 200, 600_000, 10, 100, 200),
            (Linear, 5_000, 1_000, 3, 500, 1_000),
            (Exponential, 0, 600_000, 5, 0, 0),
        ];
        for (kind, delay, max, retry, shortest, longest) in cases {
            let policy = policy(kind, delay, max);
            let at = |jitter| u64::try_from(backoff(&policy, retry, jitter).as_millis()).unwrap();
            let case = format!("{kind:?} {delay} {max} retry {retry}");
            assert_eq!(at(0.0), shortest, "{case}");
            assert_eq!(at(1.0), longest, "{case}");
            assert_eq!(at(0.5), u64::midpoint(shortest, longest), "{case}");
        }
    }

    #[test]
    fn retry_after_only_lengthens_and_only_up_to_its_maximum() {
        let seconds = Duration::from_secs;
        let base = policy(BackoffPolicy::Linear, 10_000, 600_000);
        // asked, maximum, wait (seconds), at full jitter
        let cases = [
            (None, 600, 10),
            (Some(0), 600, 10),
            (Some(5), 600, 10),
            (Some(60), 600, 60),
            (Some(3_600), 600, 600),
            (Some(60), 20, 20),
            (Some(60), 5, 10),
            (Some(60), 0, 10),
        ];
        for (asked, max, expected) in cases {
            let policy = DeliveryPolicy { retry_after_max: seconds(max), ..base.clone() };
            assert_eq!(
                wait(&policy, 1, 1.0, asked.map(seconds)),
                seconds(expected),
                "{asked:?} of at most {max}"
            );
        }
    }
}
