//! URLs of destinations: checked when read, resolved against the address of a `ref` (RFC 3986, section 5.2).

use crate::limits;

/// Checks a URL that stands by itself.
///
/// # Errors
/// What is wrong and what would be right. Credentials in a URL are refused without repeating them.
pub(crate) fn check_absolute(text: &str) -> Result<(), String> {
    const RIGHT: &str = "write an absolute URL such as http://host:port/path";
    if text.len() > limits::URI_BYTES_MAX {
        return Err(format!("is longer than {} bytes", limits::URI_BYTES_MAX));
    }
    let uri: http::Uri = text.parse().map_err(|error| format!("is not a URL ({error}); {RIGHT}"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(other) => return Err(format!("has the scheme {other:?}; Pelton delivers to http and https")),
        None => return Err(format!("is relative, and there is no ref to resolve it against; {RIGHT}")),
    }
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    if authority.contains('@') {
        return Err("has a user or password in it, which would end up in logs; remove it".into());
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(format!("names no host; {RIGHT}"));
    }
    Ok(())
}

/// Resolves `reference` against the path of a `ref`'s address, which is `/`: the path and query below that address, or
/// `Err` with the absolute URL that replaces it.
///
/// # Errors
/// The absolute URL, where `reference` is one.
pub(crate) fn path_below(reference: &str) -> Result<String, String> {
    if reference.contains("://") {
        return Err(reference.to_owned());
    }
    // A fragment is never sent.
    let reference = reference.split('#').next().unwrap_or_default();
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let path = remove_dot_segments(path);
    Ok(query.map_or_else(|| path.clone(), |query| format!("{path}?{query}")))
}

/// RFC 3986, section 5.2.4, for a path below `/`.
fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let last = segments.len().saturating_sub(1);
    for (index, segment) in segments.into_iter().enumerate() {
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if index == last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_http_urls_without_credentials_stand_by_themselves() {
        for text in ["http://a", "https://a.b:8443/p?q=1", "http://127.0.0.1:9000/dead", "http://[::1]:80/"] {
            assert_eq!(check_absolute(text), Ok(()), "{text}");
        }
        let bad = [
            ("/path", "is relative"),
            ("ftp://a/", "has the scheme \"ftp\""),
            ("http://user:secret@a/", "has a user or password"),
            ("http:///x", "is not a URL"),
            ("not a url", "is not a URL"),
            ("", "is not a URL"),
        ];
        for (text, why) in bad {
            let error = check_absolute(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn relative_references_resolve_below_the_address() {
        let cases = [
            ("", "/"),
            ("/", "/"),
            ("events", "/events"),
            ("/a/b", "/a/b"),
            ("/a/../b", "/b"),
            ("../../x", "/x"),
            ("/a/b/..", "/a/"),
            ("a?x=1&y=../", "/a?x=1&y=../"),
            ("?x=1", "/?x=1"),
            ("/a#frag", "/a"),
        ];
        for (reference, path) in cases {
            assert_eq!(path_below(reference).as_deref(), Ok(path), "{reference}");
        }
        assert_eq!(path_below("http://b/c"), Err("http://b/c".into()));
    }
}
