//! URI and URI-reference (RFC 3986), with characters beyond ASCII let through (RFC 3987); checked and not normalised.

/// Whether `text` is a URI: it has a scheme.
pub(super) fn is_absolute(text: &str) -> bool {
    scheme(text.as_bytes()).is_some() && is_reference(text)
}

/// Whether `text` is a URI-reference: with or without a scheme.
pub(super) fn is_reference(text: &str) -> bool {
    let bytes = text.as_bytes();
    if !has_uri_characters(text) {
        return false;
    }
    let (rest, fragment) = split_at_byte(bytes, b'#');
    let (hierarchy, query) = split_at_byte(rest, b'?');
    let brackets = |part: &[u8]| part.iter().any(|byte| matches!(byte, b'[' | b']'));
    if [fragment, query].into_iter().flatten().any(brackets)
        || fragment.is_some_and(|part| part.contains(&b'#'))
    {
        return false;
    }
    let after_scheme = match scheme(hierarchy) {
        Some(scheme) => &hierarchy[scheme.len() + 1..],
        // Without a scheme a colon in the first segment would read as one (RFC 3986, 4.2).
        None if first_segment(hierarchy).contains(&b':') => return false,
        None => hierarchy,
    };
    let Some(authority_and_path) = after_scheme.strip_prefix(b"//") else { return !brackets(after_scheme) };
    let (authority, path) = split_at_byte(authority_and_path, b'/');
    is_authority(authority) && !path.is_some_and(brackets)
}

fn has_uri_characters(text: &str) -> bool {
    let bytes = text.as_bytes();
    let visible = bytes.iter().all(|byte| {
        !matches!(byte, 0..=b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7F)
    });
    let encoded =
        |at: usize| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    visible
        && bytes.iter().enumerate().all(|(at, byte)| *byte != b'%' || encoded(at))
        && (text.is_ascii() || super::is_text(text))
}

/// The part before the first `separator`, and the part behind it if there is one.
fn split_at_byte(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == separator) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn first_segment(text: &[u8]) -> &[u8] {
    split_at_byte(text, b'/').0
}

fn scheme(text: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = split_at_byte(text, b':');
    rest?;
    let (first, others) = scheme.split_first()?;
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    (first.is_ascii_alphabetic() && others.iter().all(valid)).then_some(scheme)
}

/// `[userinfo "@"] host [":" port]`; brackets only around a whole host, the port of digits.
fn is_authority(authority: &[u8]) -> bool {
    let host_and_port = match authority.iter().rposition(|byte| *byte == b'@') {
        Some(at) if authority[..at].iter().any(|byte| matches!(byte, b'[' | b']' | b'@')) => return false,
        Some(at) => &authority[at + 1..],
        None => authority,
    };
    let Some(literal) = host_and_port.strip_prefix(b"[") else {
        let (host, port) = split_at_byte(host_and_port, b':');
        return !host.iter().any(|byte| matches!(byte, b'[' | b']'))
            && port.unwrap_or_default().iter().all(u8::is_ascii_digit);
    };
    let (address, behind) = split_at_byte(literal, b']');
    let valid =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'-' | b'_' | b'~' | b'%');
    let port = match behind {
        Some([]) => Some(&[][..]),
        Some([b':', port @ ..]) => Some(port),
        _ => None,
    };
    !address.is_empty()
        && address.iter().all(valid)
        && port.is_some_and(|port| port.iter().all(u8::is_ascii_digit))
}
