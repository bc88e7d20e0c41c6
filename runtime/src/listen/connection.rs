//! One connection: its bytes and requests counted, its orders obeyed.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::{Request, Response, Version};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::BoxError;
use super::watch::{Counters, Order, Watch};
use crate::limits::LINGER_BYTES_MAX;
use crate::stream::Stream;

/// A connection that is ready for HTTP.
pub(super) struct Opened {
    stream: Stream,
    is_http2: bool,
}

impl Opened {
    pub(super) fn plain(tcp: TcpStream) -> Self {
        Self { stream: Stream::Plain(tcp), is_http2: false }
    }

    pub(super) fn tls(tls: tokio_rustls::server::TlsStream<TcpStream>) -> Self {
        let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        Self { stream: Stream::Tls(Box::new(tls.into())), is_http2 }
    }
}

/// Serves a connection to its end.
pub(super) async fn run<S, B>(
    opening: impl Future<Output = Option<Opened>>,
    service: S,
    protocols: Arc<auto::Builder<TokioExecutor>>,
    watch: Arc<Watch>,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<BoxError>,
{
    let Some(Opened { stream, is_http2 }) = opening.await else { return };
    let counters = Arc::new(Counters::default());
    counters.is_http2.store(is_http2, Relaxed);
    // This future is polled by its task alone, so the waker is the task's.
    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let _added = watch.add(counters.clone(), waker);
    let io = TokioIo::new(Counted::new(stream, counters.clone()));
    let service = CountedService { service, counters: counters.clone() };
    let mut connection = pin!(protocols.serve_connection_with_upgrades(io, service));
    let mut shutting_down = false;
    let ended = poll_fn(|cx| {
        match counters.order() {
            Order::Serve => {}
            Order::ShutDown if shutting_down => {}
            Order::ShutDown => {
                shutting_down = true;
                connection.as_mut().graceful_shutdown();
            }
            Order::Abort => return Poll::Ready(Ok(())),
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "connection ended with an error");
    }
}

/// A stream whose bytes are counted, and which lingers when it is closed.
struct Counted {
    stream: Stream,
    counters: Arc<Counters>,
    client_closed: bool,
    shut_down: bool,
    /// Bytes that may still be dropped.
    linger_bytes: usize,
}

impl Counted {
    fn new(stream: Stream, counters: Arc<Counters>) -> Self {
        let linger_bytes = LINGER_BYTES_MAX;
        Self { stream, counters, client_closed: false, shut_down: false, linger_bytes }
    }

    /// Reads and drops what comes until the client closes: many clients write their whole request before they read the
    /// answer. The watch keeps the time. Who is to end does not linger, and HTTP/2 resets the stream instead.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut dropped = [MaybeUninit::uninit(); 8 * 1024];
        while !self.client_closed
            && self.linger_bytes > 0
            && !self.counters.is_http2.load(Relaxed)
            && self.counters.order() == Order::Serve
        {
            self.counters.lingers.store(true, Relaxed);
            let mut buffer = ReadBuf::uninit(&mut dropped);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            self.client_closed = read.is_err() || buffer.filled().is_empty();
            self.linger_bytes = self.linger_bytes.saturating_sub(buffer.filled().len());
        }
        Poll::Ready(Ok(()))
    }

    fn written(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Ready(Ok(count)) => {
                self.counters.bytes_written.fetch_add(*count as u64, Relaxed);
                self.counters.write_blocked.store(false, Relaxed);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.counters.write_blocked.store(true, Relaxed),
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        let had_room = buf.remaining() > 0 || buf.filled().len() > before;
        let read = &buf.filled()[before..];
        if read.is_empty() {
            self.client_closed |= had_room && matches!(result, Poll::Ready(Ok(())));
        } else {
            let already = self.counters.bytes_read.fetch_add(read.len() as u64, Relaxed);
            // The preface of HTTP/2: no method of HTTP/1.1 begins so.
            if already == 0 && read.starts_with(b"PRI ") {
                self.counters.is_http2.store(true, Relaxed);
            }
        }
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut_down {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.shut_down = true;
        }
        self.poll_linger(cx)
    }
}

/// A service whose requests are counted.
struct CountedService<S> {
    service: S,
    counters: Arc<Counters>,
}

impl<S, B> Service<Request<Incoming>> for CountedService<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
{
    type Response = Response<CountedBody<B>>;
    type Error = S::Error;
    type Future = CountedFuture<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let counters = self.counters.clone();
        counters.requests_started.fetch_add(1, Relaxed);
        counters.requests_in_flight.fetch_add(1, Relaxed);
        if request.version() == Version::HTTP_2 {
            counters.is_http2.store(true, Relaxed);
        }
        CountedFuture { answer: self.service.call(request), in_flight: Some(InFlight(counters)) }
    }
}

/// A request from its head to the last byte of its answer.
struct InFlight(Arc<Counters>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.head_mark.store(self.0.bytes_read.load(Relaxed), Relaxed);
        self.0.requests_in_flight.fetch_sub(1, Relaxed);
    }
}

pin_project! {
    struct CountedFuture<F> {
        #[pin]
        answer: F,
        in_flight: Option<InFlight>,
    }
}

impl<F, B, E> Future for CountedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<CountedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(cx));
        let in_flight = this.in_flight.take();
        Poll::Ready(answer.map(|response| response.map(|body| CountedBody { body, in_flight })))
    }
}

pin_project! {
    struct CountedBody<B> {
        #[pin]
        body: B,
        in_flight: Option<InFlight>,
    }
}

impl<B: Body> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
