//! The body of an answer on its way to the client.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::InUse;
use crate::queue::Slot;

/// What goes to the client.
pub enum ResponseBody {
    /// Pelton's own words.
    Own(Full<Bytes>),
    /// A replica's.
    Streamed(Box<Streamed>),
}

/// Why an answer was cut off after its beginning.
#[derive(Debug, thiserror::Error)]
pub enum CutOff {
    /// The replica or its connection broke.
    #[error("the replica: {0}")]
    Replica(#[from] hyper::Error),
    /// The request took too long altogether.
    #[error("the request took longer than {0:?}")]
    Timeout(Duration),
    /// The answer paused for too long.
    #[error("the answer paused for longer than {0:?}")]
    Idle(Duration),
}

/// The times of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// When the request came.
    pub(super) began: Instant,
    /// How long it may take altogether.
    pub(super) timeout: Duration,
    /// How long the answer may pause; `None`: as long as it likes.
    pub(super) idle_timeout: Option<Duration>,
}

/// An answer that still comes in, with all that it holds until its end.
#[derive(Debug)]
pub struct Streamed {
    incoming: Incoming,
    over: Option<InUse>,
    /// The place on the replica; given back with the last byte.
    _slot: Slot,
    times: Times,
    last_byte: Instant,
    /// One timer for both times, made when the body first pauses: it is set anew when it fires too early.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Streamed {
    pub(super) fn new(incoming: Incoming, over: Option<InUse>, slot: Slot, times: Times) -> Self {
        Self { incoming, over, _slot: slot, times, last_byte: Instant::now(), timer: None }
    }

    /// The time that is over, if one is.
    fn poll_times(&mut self, cx: &mut Context<'_>) -> Poll<CutOff> {
        let Times { began, timeout, idle_timeout } = self.times;
        let first = began + idle_timeout.map_or(timeout, |idle| idle.min(timeout));
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(first)));
        loop {
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if now >= began + timeout {
                return Poll::Ready(CutOff::Timeout(timeout));
            }
            let mut next = began + timeout;
            if let Some(idle) = idle_timeout {
                if now >= self.last_byte + idle {
                    return Poll::Ready(CutOff::Idle(idle));
                }
                next = next.min(self.last_byte + idle);
            }
            timer.as_mut().reset(next);
        }
    }

    /// What the replica sends next.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(over) = &mut self.over else {
            return Pin::new(&mut self.incoming).poll_frame(cx);
        };
        // The body comes only out of its connection, which this task drives. The connection reads on only after the body was
        // asked for, so it gets a second turn.
        for _ in 0..2 {
            over.drive(cx);
            let mut frame = std::pin::pin!(tokio::task::coop::unconstrained(std::future::poll_fn(|cx| {
                Pin::new(&mut self.incoming).poll_frame(cx)
            })));
            let frame = frame.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if frame.is_ready() {
                return frame;
            }
        }
        Poll::Pending
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(mut over) = self.over.take()
        {
            over.keep();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match self.get_mut() {
            Self::Own(full) => Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
            Self::Streamed(streamed) => {
                if let Poll::Ready(frame) = streamed.poll_incoming(cx) {
                    // Reading the clock for each piece is dear only where nobody asks how long it pauses.
                    if streamed.times.idle_timeout.is_some() {
                        streamed.last_byte = Instant::now();
                    }
                    return Poll::Ready(frame.map(|frame| frame.map_err(CutOff::from)));
                }
                streamed.poll_times(cx).map(|cut_off| Some(Err(cut_off)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(full) => full.is_end_stream(),
            Self::Streamed(streamed) => streamed.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(full) => full.size_hint(),
            Self::Streamed(streamed) => streamed.incoming.size_hint(),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(_) => f.write_str("Own"),
            Self::Streamed(_) => f.write_str("Streamed"),
        }
    }
}
