//! URI and URI-reference (RFC 3986), with characters beyond ASCII let through (RFC 3987); checked and not normalised.

/// Whether `text` is a URI: it has a scheme.
pub(super) fn is_absolute(text: &str) -> bool {
    let bytes = text.as_bytes();
    let delimiter = bytes.iter().position(|byte| matches!(byte, b':' | b'/' | b'?' | b'#'));
    delimiter.is_some_and(|at| bytes[at] == b':') && is_reference(text)
}

/// Whether `text` is a URI-reference: with or without a scheme.
pub(super) fn is_reference(text: &str) -> bool {
    let bytes = text.as_bytes();
    let classes = bytes.iter().fold(0, |classes, byte| classes | CLASSES[usize::from(*byte)]);
    if classes & class::FORBIDDEN != 0
        || (classes & class::PERCENT != 0 && !percent_signs_encode(bytes))
        || (classes & class::NON_ASCII != 0 && !super::is_text(text))
        || (classes & class::HASH != 0 && bytes.iter().filter(|byte| **byte == b'#').count() > 1)
    {
        return false;
    }
    let hierarchy = match bytes.iter().position(|byte| matches!(byte, b':' | b'/' | b'?' | b'#')) {
        Some(at) if bytes[at] == b':' => {
            if !is_scheme(&bytes[..at]) {
                // Without a scheme, a colon in the first segment would read as one (RFC 3986, 4.2).
                return false;
            }
            &bytes[at + 1..]
        }
        _ => bytes,
    };
    let (authority, rest) = match hierarchy.strip_prefix(b"//") {
        Some(text) => {
            text.split_at(text.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(text.len()))
        }
        None => (&[][..], hierarchy),
    };
    let brackets = classes & class::BRACKET != 0 && rest.iter().any(|byte| matches!(byte, b'[' | b']'));
    !brackets && is_authority(authority)
}

/// What a byte is in a URI; a text is judged by the union of its bytes' classes, in one pass without a branch.
mod class {
    /// Stands nowhere unless percent-encoded.
    pub(super) const FORBIDDEN: u8 = 1;
    /// Two hex digits follow.
    pub(super) const PERCENT: u8 = 2;
    /// Stands once, before the fragment.
    pub(super) const HASH: u8 = 4;
    /// Stands around an IP address only.
    pub(super) const BRACKET: u8 = 8;
    /// Part of a character beyond ASCII.
    pub(super) const NON_ASCII: u8 = 16;
}

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            0..=b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7F => {
                class::FORBIDDEN
            }
            b'%' => class::PERCENT,
            b'#' => class::HASH,
            b'[' | b']' => class::BRACKET,
            0x80.. => class::NON_ASCII,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

fn percent_signs_encode(bytes: &[u8]) -> bool {
    let encodes =
        |at: usize| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    bytes.iter().enumerate().all(|(at, byte)| *byte != b'%' || encodes(at))
}

fn is_scheme(text: &[u8]) -> bool {
    let valid = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    text.first().is_some_and(u8::is_ascii_alphabetic) && text.iter().all(valid)
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

/// The part before the first `separator`, and the part behind it if there is one.
fn split_at_byte(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == separator) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}
