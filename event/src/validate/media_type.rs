//! Media types (RFC 2045, 2046; the grammar of RFC 9110 for parameters).

/// A media type as an event's `datacontenttype` or a `Content-Type` header writes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MediaType<'a> {
    kind: &'a str,
    subtype: &'a str,
    parameters: &'a str,
}

impl<'a> MediaType<'a> {
    /// Reads `type "/" subtype *( ";" [ name "=" value ] )`.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        let (kind, subtype) = essence.trim_matches([' ', '\t']).split_once('/')?;
        let tokens = is_token(kind.as_bytes()) && is_token(subtype.as_bytes());
        let mut rest = parameters;
        while !rest.is_empty() {
            rest = next_parameter(rest)?.1;
        }
        tokens.then_some(Self { kind, subtype, parameters })
    }

    /// Whether it declares JSON: subtype `json` or suffix `+json` (CloudEvents JSON format, section 3.1.1).
    pub(crate) fn is_json(&self) -> bool {
        self.has_subtype_or_suffix("json")
    }

    /// Whether it declares text in UTF-8: `text/*`, XML, and no other `charset`.
    pub(crate) fn is_utf8_text(&self) -> bool {
        let text = self.kind.eq_ignore_ascii_case("text") || self.has_subtype_or_suffix("xml");
        let utf8 =
            |charset: &str| charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii");
        text && self.parameter("charset").is_none_or(utf8)
    }

    fn has_subtype_or_suffix(&self, format: &str) -> bool {
        let suffix = self.subtype.rsplit_once('+').map_or(self.subtype, |(_, suffix)| suffix);
        suffix.eq_ignore_ascii_case(format)
    }

    fn parameter(&self, wanted: &str) -> Option<&'a str> {
        let mut rest = self.parameters;
        while !rest.is_empty() {
            let (parameter, after) = next_parameter(rest)?;
            match parameter {
                Some((name, value)) if name.eq_ignore_ascii_case(wanted) => {
                    return Some(value.trim_matches('"'));
                }
                _ => rest = after,
            }
        }
        None
    }
}

type Parameter<'a> = (&'a str, &'a str);

/// The first parameter of `text` (none between two semicolons), and what follows its semicolon.
fn next_parameter(text: &str) -> Option<(Option<Parameter<'_>>, &str)> {
    let text = text.trim_start_matches([' ', '\t']);
    if text.is_empty() {
        return Some((None, ""));
    }
    if let Some(after) = text.strip_prefix(';') {
        return Some((None, after));
    }
    let (name, rest) = text.split_once('=')?;
    let length = if rest.starts_with('"') {
        quoted_length(rest)?
    } else {
        rest.find([';', ' ', '\t']).unwrap_or(rest.len())
    };
    let (value, after) = rest.split_at(length);
    let valid = is_token(name.as_bytes()) && (value.starts_with('"') || is_token(value.as_bytes()));
    let after = after.trim_start_matches([' ', '\t']);
    let after = if after.is_empty() { after } else { after.strip_prefix(';')? };
    valid.then_some((Some((name, value)), after))
}

/// Bytes of the quoted-string at the front, quotes included.
fn quoted_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            0..=8 | 10..=31 | 127 => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// A `token` (RFC 9110, section 5.6.2).
pub(super) fn is_token(text: &[u8]) -> bool {
    let tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(tchar)
}
