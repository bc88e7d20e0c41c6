//! One request and its answer on an open connection.

use std::error::Error as _;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::connect::Opened;
use super::{CallError, Target};
use crate::body::{Collector, TooLarge};
use crate::limits::{ERROR_RESPONSE_BYTES_MAX, HTTP2_PING_INTERVAL, RESPONSE_HEADER_BYTES_MAX};
use crate::stream::Stream;

pub(super) type Outgoing = Request<Full<Bytes>>;

/// Why an exchange gave no answer.
pub(super) enum Failure {
    /// The connection was already closed: nothing was sent and here is the request back.
    NotSent { request: Box<Outgoing>, problem: String },
    /// Anything later.
    Call(CallError),
}

/// What a call holds while it runs.
pub(super) struct Exchange<'a> {
    pub(super) target: &'a Target,
    pub(super) response_limit: usize,
    /// Set while any of the request may have left: what a time-out must tell.
    pub(super) sent: &'a AtomicBool,
}

pub(super) enum Connection {
    Http1(Box<Http1>),
    Http2(Http2),
}

impl Connection {
    pub(super) async fn start(opened: Opened, target: &Target) -> Result<Self, CallError> {
        let failed = |error: &hyper::Error| closed(target, describe(error), false);
        let io = TokioIo::new(opened.stream);
        if !opened.is_http2 {
            let (sender, driver) = http1::Builder::new()
                .max_header_size(RESPONSE_HEADER_BYTES_MAX)
                .handshake(io)
                .await
                .map_err(|error| failed(&error))?;
            return Ok(Self::Http1(Box::new(Http1 { sender, driver, idle_since: Instant::now() })));
        }
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(HTTP2_PING_INTERVAL)
            .keep_alive_timeout(HTTP2_PING_INTERVAL)
            .max_header_list_size(u32::try_from(RESPONSE_HEADER_BYTES_MAX).unwrap_or(u32::MAX))
            .handshake(io)
            .await
            .map_err(|error| failed(&error))?;
        // Calls see how their stream ends; the connection's own end needs no second report.
        tokio::spawn(async move { drop(driver.await) });
        Ok(Self::Http2(Http2 { sender }))
    }

    pub(super) async fn exchange(
        &mut self,
        mut request: Outgoing,
        exchange: &Exchange<'_>,
    ) -> Result<Response<Bytes>, Failure> {
        let target = exchange.target;
        match self {
            Self::Http1(connection) => {
                *request.uri_mut() = target.origin_form();
                request.headers_mut().insert(HOST, target.host_header());
                if needs_length(&request) {
                    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                }
                connection.exchange(request, exchange).await
            }
            Self::Http2(connection) => {
                *request.uri_mut() = target.absolute_form();
                request.headers_mut().remove(HOST);
                connection.exchange(request, exchange).await
            }
        }
    }
}

/// hyper leaves the length of an empty body out; servers answer 411 to a POST without one.
fn needs_length(request: &Outgoing) -> bool {
    request.body().is_end_stream() && matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH)
}

/// An HTTP/1.1 connection. No task of its own drives it: the call that uses it does. While idle nobody does, and whether
/// the other side closed it is looked at before it is used again.
pub(super) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: http1::Connection<TokioIo<Stream>, Full<Bytes>>,
    idle_since: Instant,
}

impl Http1 {
    /// Lets the connection see what the socket has, without waiting; false if it can take no request (any more).
    pub(super) fn is_usable(&mut self) -> bool {
        // Without constraint: a task that has used up its share of a turn would be told that the socket has nothing.
        let driver = pin!(unconstrained(&mut self.driver));
        driver.poll(&mut Context::from_waker(Waker::noop())).is_pending() && self.sender.is_ready()
    }

    pub(super) fn now_idle(&mut self) {
        self.idle_since = Instant::now();
    }

    pub(super) fn idle_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.idle_since)
    }

    /// The answer and its body come only out of `driver`, which this task polls with its own waker. So they are polled
    /// with none, as a wake-up of this task by itself would cost a useless round; and without constraint, as otherwise
    /// tokio could put them off when this task's share of a turn is used up, trusting that waker to come back to them.
    async fn exchange(
        &mut self,
        request: Outgoing,
        exchange: &Exchange<'_>,
    ) -> Result<Response<Bytes>, Failure> {
        let Self { sender, driver, .. } = self;
        let mut answer = pin!(unconstrained(sender.try_send_request(request)));
        exchange.sent.store(true, Ordering::Relaxed);
        let mut ended = false;
        let answer = poll_fn(|cx| {
            drive(driver, &mut ended, cx);
            answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
        .await;
        let response = answer.map_err(|mut error| match error.take_message() {
            Some(request) => not_sent(request, error.error(), exchange),
            None => Failure::Call(failed(exchange.target, error.error())),
        })?;
        let (head, mut body) = response.into_parts();
        let mut collected = Collected::new(exchange, head.status, &body).map_err(Failure::Call)?;
        let mut polled_again = false;
        let body = poll_fn(|cx| {
            loop {
                if body.is_end_stream() {
                    return Poll::Ready(Ok(()));
                }
                drive(driver, &mut ended, cx);
                let frame = pin!(unconstrained(poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))));
                match frame.poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Ready(Some(frame)) => match collected.push(frame)? {
                        Wanted::More => {}
                        Wanted::Nothing => return Poll::Ready(Ok(())),
                    },
                    // The driver reads on only after the body was asked for, so it gets a second turn after the first.
                    Poll::Pending if !polled_again => polled_again = true,
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        body.map_err(Failure::Call)?;
        Ok(Response::from_parts(head, collected.collector.finish()))
    }
}

fn drive(
    driver: &mut http1::Connection<TokioIo<Stream>, Full<Bytes>>,
    ended: &mut bool,
    cx: &mut Context<'_>,
) {
    // An error of the connection is told to the request or the body that it hits.
    if !*ended {
        *ended = Pin::new(driver).poll(cx).is_ready();
    }
}

/// An HTTP/2 connection: a clone shares it. Its own task drives it; it ends when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
}

impl Http2 {
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    async fn exchange(
        &mut self,
        request: Outgoing,
        exchange: &Exchange<'_>,
    ) -> Result<Response<Bytes>, Failure> {
        exchange.sent.store(true, Ordering::Relaxed);
        let response =
            self.sender.try_send_request(request).await.map_err(|mut error| match error.take_message() {
                Some(request) => not_sent(request, error.error(), exchange),
                None => Failure::Call(failed(exchange.target, error.error())),
            })?;
        let (head, mut body) = response.into_parts();
        let mut collected = Collected::new(exchange, head.status, &body).map_err(Failure::Call)?;
        while !body.is_end_stream() {
            match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                Some(frame) => match collected.push(frame).map_err(Failure::Call)? {
                    Wanted::More => {}
                    Wanted::Nothing => break,
                },
                None => break,
            }
        }
        Ok(Response::from_parts(head, collected.collector.finish()))
    }
}

/// The body of an answer as it comes in, within its limit. Of an answer that is no success only the first bytes are kept,
/// however many come: they are for people.
struct Collected<'a> {
    target: &'a Target,
    limit: usize,
    status: StatusCode,
    collector: Collector,
}

/// Whether the rest of a body is wanted. A connection with a body that was not read to its end is not used again.
enum Wanted {
    More,
    Nothing,
}

impl<'a> Collected<'a> {
    fn new(exchange: &Exchange<'a>, status: StatusCode, body: &Incoming) -> Result<Self, CallError> {
        let (target, limit) = (exchange.target, exchange.response_limit);
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let (announced, limit) =
            if status.is_success() { (announced, limit) } else { (0, limit.min(ERROR_RESPONSE_BYTES_MAX)) };
        match Collector::new(announced, limit) {
            Ok(collector) => Ok(Self { target, limit, status, collector }),
            Err(TooLarge) => Err(too_large(target, limit, status)),
        }
    }

    fn push(&mut self, frame: Result<hyper::body::Frame<Bytes>, hyper::Error>) -> Result<Wanted, CallError> {
        let frame = frame.map_err(|error| failed(self.target, &error))?;
        // Trailers carry nothing that Pelton reads.
        let Ok(mut data) = frame.into_data() else { return Ok(Wanted::More) };
        let room = self.collector.room();
        let wanted = if self.status.is_success() || data.len() <= room {
            Wanted::More
        } else {
            data.truncate(room);
            Wanted::Nothing
        };
        self.collector.push(data).map_err(|TooLarge| too_large(self.target, self.limit, self.status))?;
        Ok(wanted)
    }
}

fn too_large(target: &Target, limit: usize, status: StatusCode) -> CallError {
    CallError::ResponseTooLarge { origin: target.origin().to_owned(), limit, status: status.as_u16() }
}

fn not_sent(request: Outgoing, error: &hyper::Error, exchange: &Exchange<'_>) -> Failure {
    exchange.sent.store(false, Ordering::Relaxed);
    Failure::NotSent { request: Box::new(request), problem: describe(error) }
}

fn failed(target: &Target, error: &hyper::Error) -> CallError {
    if error.is_parse() {
        return CallError::InvalidResponse { origin: target.origin().to_owned(), problem: describe(error) };
    }
    closed(target, describe(error), true)
}

pub(super) fn closed(target: &Target, problem: String, sent: bool) -> CallError {
    CallError::Closed { origin: target.origin().to_owned(), problem, sent }
}

/// hyper's words and those of the cause below, where the system's own message is.
fn describe(error: &hyper::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
