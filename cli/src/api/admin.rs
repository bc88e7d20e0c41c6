//! The admin API (`docs/admin-api.md`) of a running Pelton.

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use super::connection::Endpoint;
use crate::failure::Failure;

const ADDRESS: &str = "PELTON_ADMIN";
const TOKEN: &str = "PELTON_ADMIN_TOKEN";
const DEFAULT: &str = "http://127.0.0.1:9090";

/// What must not stand as it is in a path segment or a query value.
const RESERVED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'/')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A text as a part of a path or a query.
pub(crate) fn part(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A path with those parameters that have a value.
pub(crate) fn with_query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some(format!("{name}={}", part((*value)?))));
    let query = given.collect::<Vec<_>>().join("&");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// Asks one Pelton.
pub(crate) struct Api {
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
}

impl Api {
    /// The Pelton that the environment names.
    pub(crate) fn from_environment() -> Result<Self, Failure> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let url = variable(ADDRESS).unwrap_or_else(|| DEFAULT.to_owned());
        let authorization = variable(TOKEN).map(|token| {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value = value.map_err(|_| {
                Failure::usage(Some("PEL-1708"), format!("{TOKEN} has characters that a token cannot have"))
            })?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Self { endpoint: Endpoint::parse(&url, ADDRESS)?, authorization: authorization.transpose()? })
    }

    /// A GET, answered with JSON.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, "", Bytes::new()).await
    }

    /// A GET, answered with the text of JSON.
    pub(crate) async fn get_text(&self, path: &str) -> Result<String, Failure> {
        let (status, body) = self.answer(Method::GET, path, "", Bytes::new()).await?;
        String::from_utf8(body.to_vec()).map_err(|_| self.strange(status, &body))
    }

    /// A DELETE, answered with JSON.
    pub(crate) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::DELETE, path, "", Bytes::new()).await
    }

    /// A POST of JSON, answered with JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, "application/json", Bytes::from(body.to_string())).await
    }

    /// A POST of YAML, answered with JSON.
    pub(crate) async fn post_yaml(&self, path: &str, body: String) -> Result<Value, Failure> {
        self.call(Method::POST, path, "application/yaml", Bytes::from(body)).await
    }

    /// A GET that is answered line by line, as long as it takes.
    pub(crate) async fn lines(&self, path: &str) -> Result<Lines, Failure> {
        let response = self.send(Method::GET, path, "", Bytes::new()).await?;
        if response.status().is_success() {
            return Ok(Lines { body: response.into_body(), buffer: BytesMut::new() });
        }
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| self.broken(&error))?.to_bytes();
        Err(self.refused(status, &body))
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<Value, Failure> {
        let (status, body) = self.answer(method, path, content_type, body).await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| self.strange(status, &body))
    }

    /// The whole body of an answer that is no refusal.
    async fn answer(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let response = self.send(method, path, content_type, body).await?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| self.broken(&error))?.to_bytes();
        if status.is_success() { Ok((status, body)) } else { Err(self.refused(status, &body)) }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let mut connection = self.endpoint.connect().await.map_err(|error| {
            let url = &self.endpoint.url;
            Failure::unreachable(
                "PEL-1701",
                format!(
                    "no Pelton answers at {url} ({error}); start one with `pelton run`, or set {ADDRESS}"
                ),
            )
        })?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() =
            path.parse().map_err(|_| Failure::usage(Some("PEL-1708"), format!("`{path}` is no path")))?;
        let headers = request.headers_mut();
        if !content_type.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        connection.send(request).await.map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &hyper::Error) -> Failure {
        Failure::unreachable("PEL-1703", format!("the answer of {} broke off: {error}", self.endpoint.url))
    }

    fn strange(&self, status: StatusCode, body: &[u8]) -> Failure {
        let start: String = String::from_utf8_lossy(body).chars().take(200).collect();
        Failure::failed(
            Some("PEL-1703"),
            format!(
                "{} answers {status} with something that is not the admin API's: {start}",
                self.endpoint.url
            ),
        )
    }

    /// A refusal in the API's own words.
    fn refused(&self, status: StatusCode, body: &[u8]) -> Failure {
        let problem: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(detail) = problem["detail"].as_str() else { return self.strange(status, body) };
        let code = problem["code"].as_str();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Failure::usage(code.or(Some("PEL-1702")), detail);
        }
        let mut message = detail.to_owned();
        for problem in problem["problems"].as_array().into_iter().flatten() {
            message.push_str("\n  ");
            message.push_str(&problem_line(problem));
        }
        match status {
            StatusCode::NOT_FOUND => Failure::not_found(code, message),
            StatusCode::BAD_REQUEST => Failure::usage(code, message),
            _ => Failure::failed(code, message),
        }
    }
}

/// One line of what is wrong with a resource, from the form of `/api/v1/problems`: as `pelton check` has it.
pub(crate) fn problem_line(problem: &Value) -> String {
    let text = |name: &str| problem[name].as_str().unwrap_or_default();
    let field = if text("field").is_empty() { String::new() } else { format!(" {}", text("field")) };
    format!("{}: {} {}{field}: {}", text("place"), text("severity"), text("code"), text("message"))
}

/// The lines of an answer as they come.
pub(crate) struct Lines {
    body: Incoming,
    buffer: BytesMut,
}

impl Lines {
    /// The next line; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1).freeze();
                return Ok(Some(line.slice(..end)));
            }
            let Some(frame) = self.body.frame().await else {
                let rest = std::mem::take(&mut self.buffer).freeze();
                return Ok((!rest.is_empty()).then_some(rest));
            };
            let frame = frame.map_err(|error| {
                Failure::unreachable(
                    "PEL-1703",
                    format!("the answer broke off: {error}; has Pelton stopped?"),
                )
            })?;
            if let Some(data) = frame.data_ref() {
                self.buffer.extend_from_slice(data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::failure::Exit;

    fn api() -> Api {
        Api {
            endpoint: Endpoint::parse(DEFAULT, ADDRESS).unwrap_or_else(|failure| panic!("{failure}")),
            authorization: None,
        }
    }

    #[test]
    fn queries_hold_only_what_is_given_and_escape_it() {
        let parameters =
            [("from", Some("2026-01-01T00:00:00+01:00")), ("max", None), ("filter", Some("a = 'b&c'"))];
        assert_eq!(
            with_query("/p", &parameters),
            "/p?from=2026-01-01T00:00:00%2B01:00&filter=a%20%3D%20'b%26c'"
        );
        assert_eq!(with_query("/p", &[("max", None)]), "/p");
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_api_with_every_problem() {
        let problems = json!([{"severity": "error", "code": "PEL-1302", "place": "a.yaml:3", "field": "spec.x", "message": "unknown"}]);
        let body = json!({"detail": "wrong", "code": "PEL-1601", "problems": problems}).to_string();
        let failure = api().refused(StatusCode::UNPROCESSABLE_ENTITY, body.as_bytes());
        assert_eq!(failure.exit(), Exit::Failed);
        assert_eq!(failure.to_string(), "wrong\n  a.yaml:3: error PEL-1302 spec.x: unknown");
        let missing = api().refused(StatusCode::NOT_FOUND, br#"{"detail":"no such","code":"PEL-1602"}"#);
        assert_eq!(missing.exit(), Exit::NotFound);
        let wrong = api().refused(StatusCode::BAD_REQUEST, br#"{"detail":"limit is 0","code":"PEL-1608"}"#);
        assert_eq!(wrong.exit(), Exit::Usage);
        let denied = api().refused(StatusCode::UNAUTHORIZED, br#"{"detail":"who are you?"}"#);
        assert_eq!(denied.exit(), Exit::Usage);
    }

    #[test]
    fn an_answer_of_somebody_else_is_said_to_be_that() {
        let failure = api().refused(StatusCode::BAD_GATEWAY, b"<html>nginx</html>");
        assert!(failure.to_string().contains("nginx") && failure.to_string().contains("502"), "{failure}");
    }
}
