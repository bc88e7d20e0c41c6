//! The ISO-8601 durations of a Trigger, against their grammar written down once more.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pelton_resources::{Assembly, Defaults, NamespacedName, Overrides, Source, assemble, limits};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let read = timeout(text);
    if let Some(read) = read {
        assert!(read <= limits::DURATION_MAX && read > Duration::ZERO, "{text:?} is {read:?}");
        assert!(text.contains(['P', 'p']), "{text:?} is {read:?}");
    }
    if let Some(expected) = grammar(text) {
        let valid = expected <= limits::DURATION_MAX && expected > Duration::ZERO;
        assert_eq!(read, valid.then_some(expected), "{text:?}");
    }
});

/// What a Trigger's `timeout` is when it is written like this; `None` if that is refused.
fn timeout(text: &str) -> Option<Duration> {
    // A JSON string is a YAML string.
    let quoted = serde_json::to_string(text).expect("a string is always JSON");
    let document = format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b}}\n---\n\
         apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: t}}\nspec:\n  broker: b\n  \
         subscriber: {{uri: 'http://sink/'}}\n  delivery: {{timeout: {quoted}}}\n"
    );
    let source = Source::read("f.yaml", &document);
    let refused = source.has_errors();
    let sources = [source.into()];
    let assembly = assemble(&Assembly::default(), &sources, &Defaults::default(), &Overrides::default());
    let trigger = assembly.snapshot.triggers.get(&NamespacedName::new("default", "t"));
    assert_eq!(trigger.is_none(), refused, "{text:?}");
    trigger.map(|trigger| trigger.delivery.timeout)
}

/// `P[nW][nD][T[nH][nM][n[.n]S]]` with numbers of at most six digits; `None` for every other text.
fn grammar(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('P').filter(|text| !text.is_empty() && !text.ends_with('T'))?;
    let (date, time) = text.split_once('T').unwrap_or((text, ""));
    let date = sum(date, &[('W', 604_800), ('D', 86_400)])?;
    Some(date + sum(time, &[('H', 3_600), ('M', 60), ('S', 1)])?)
}

/// Numbers with units, each at most once and in their order.
fn sum(mut text: &str, mut units: &[(char, u64)]) -> Option<Duration> {
    let mut total = Duration::ZERO;
    while let Some(end) = text.find(|c: char| !c.is_ascii_digit() && c != '.') {
        let at = units.iter().position(|(unit, _)| text[end..].starts_with(*unit))?;
        let (unit, seconds) = units[at];
        let (whole, fraction) = text[..end].split_once('.').unwrap_or((&text[..end], "0"));
        if fraction.len() > 6 || whole.len() > 6 || (unit != 'S' && text[..end].contains('.')) {
            return None;
        }
        total += Duration::from_secs(whole.parse::<u64>().ok()? * seconds);
        total +=
            Duration::from_micros(format!("{fraction:0<6}").parse().ok().filter(|_| !fraction.is_empty())?);
        (text, units) = (&text[end + 1..], &units[at + 1..]);
    }
    text.is_empty().then_some(total)
}
