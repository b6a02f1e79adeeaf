//! The headers that every answer carries: what a browser may do with it, and that nobody keeps it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// The policy of pages: nothing but our own style sheets, pictures and (later) scripts.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
    object-src 'none'; require-trusted-types-for 'script'";

/// The policy of files: whatever they hold, it does nothing here.
const FILE_POLICY: &str = "sandbox; default-src 'none'";

const FIXED: [(HeaderName, &str); 7] = [
    (
        header::STRICT_TRANSPORT_SECURITY,
        "max-age=63072000; includeSubDomains",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=()",
    ),
];

/// Adds what is missing. A policy or caching rule that a handler set is kept.
pub(crate) fn raise(headers: &mut HeaderMap) {
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(PAGE_POLICY));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

/// Marks an answer as the content of a file: to be saved under `name`, never shown or run.
pub(crate) fn file(headers: &mut HeaderMap, name: &[u8]) {
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(FILE_POLICY),
    );
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    // Names that are no UTF-8 are shown with replacement characters: a browser can't hold the bytes.
    let name = String::from_utf8_lossy(name);
    let text = format!(
        "attachment; filename*=UTF-8''{}",
        crate::location::encode_value(name.as_bytes())
    );
    let value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"));
    headers.insert(header::CONTENT_DISPOSITION, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_cannot_leave_its_header() {
        let mut headers = HeaderMap::new();
        file(&mut headers, "a\"\r\nSet-Cookie: x=1; ü.html".as_bytes());
        raise(&mut headers);
        assert_eq!(
            headers["content-disposition"],
            "attachment; filename*=UTF-8''a%22%0D%0ASet-Cookie%3A%20x%3D1%3B%20%C3%BC.html"
        );
        assert_eq!(headers["content-security-policy"], FILE_POLICY);
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["x-content-type-options"], "nosniff");
    }
}
