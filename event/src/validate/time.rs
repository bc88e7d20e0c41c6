//! RFC 3339 date and time, checked and not converted: an event keeps the text it came with.

/// Whether `text` is an RFC 3339 `date-time`: a real day, a second 60 only where leap seconds are (23:59 UTC), any number
/// of fraction digits.
pub(super) fn is_rfc3339(text: &str) -> bool {
    parse(text.as_bytes()).is_some()
}

fn parse(text: &[u8]) -> Option<()> {
    let (fixed, rest) = text.split_at_checked("2026-01-31T12:00:00".len())?;
    let year = number(&fixed[..4])?;
    let [month, day, hour, minute, second] = [5, 8, 11, 14, 17].map(|at| number(&fixed[at..at + 2]));
    let (month, day, hour, minute, second) = (month?, day?, hour?, minute?, second?);
    let separators = fixed[4] == b'-' && fixed[7] == b'-' && fixed[13] == b':' && fixed[16] == b':';
    let date = (1..=12).contains(&month) && (1..=days(year, month)).contains(&day);
    if !separators || !date || !matches!(fixed[10], b'T' | b't') || hour > 23 || minute > 59 {
        return None;
    }
    let offset = offset_minutes(after_fraction(rest)?)?;
    let utc = (i32::try_from(hour * 60 + minute).ok()? - offset).rem_euclid(24 * 60);
    let leap_second = second == 60 && utc == 23 * 60 + 59;
    (second < 60 || leap_second).then_some(())
}

fn number(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
}

fn days(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn after_fraction(rest: &[u8]) -> Option<&[u8]> {
    let Some(fraction) = rest.strip_prefix(b".") else { return Some(rest) };
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| &fraction[digits..])
}

fn offset_minutes(text: &[u8]) -> Option<i32> {
    if matches!(text, b"Z" | b"z") {
        return Some(0);
    }
    let [sign @ (b'+' | b'-'), hours @ .., b':', tens, ones] = text else { return None };
    let (hours, minutes) = (number(<&[u8; 2]>::try_from(hours).ok()?)?, number(&[*tens, *ones])?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let minutes = i32::try_from(hours * 60 + minutes).ok()?;
    Some(if *sign == b'-' { -minutes } else { minutes })
}
