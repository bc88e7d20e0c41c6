//! What a request brings: its body within bounds, its parameters; a mistake in them is a [`Refusal`].

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use bytes::Bytes;
use http::request::Parts;
use pelton_runtime::body::{BodyError, read_body};
use serde::de::DeserializeOwned;

use super::refusal::Refusal;
use crate::limits;

/// The whole body.
pub(super) struct Whole(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let body = read_body(request.into_body(), limits::BODY_BYTES_MAX, limits::BODY_TIMEOUT).await;
        body.map(Self).map_err(|error| match error {
            BodyError::TooLarge { .. } => Refusal::TooLarge,
            other => Refusal::BadRequest(other.to_string()),
        })
    }
}

impl Whole {
    /// The body as JSON of a known form.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.0)
            .map_err(|error| Refusal::BadRequest(format!("the body is not as it should be: {error}")))
    }
}

/// The parameters behind the `?`.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(error) => Err(Refusal::BadRequest(error.body_text())),
        }
    }
}
