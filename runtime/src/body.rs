//! Reading a body within bounds.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::Body;

/// Why a request's body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than allowed. What was announced too large is not read at all.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive within {} ms", .after.as_millis())]
    Timeout {
        /// The time that was given.
        after: Duration,
    },
    /// The connection ended before the body did.
    #[error("the connection ended before the body: {problem}")]
    Closed {
        /// How it ended.
        problem: String,
    },
}

/// Reads the whole of `body`: at most `limit` bytes, within `timeout`. A body that came in one piece is not copied.
///
/// # Errors
/// When it is too large, too slow or incomplete.
pub async fn read_body<B>(mut body: B, limit: usize, timeout: Duration) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let too_large = |TooLarge| BodyError::TooLarge { limit };
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut collector = Collector::new(announced, limit).map_err(too_large)?;
    let all = async {
        while !body.is_end_stream() {
            match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                None => break,
                Some(Err(error)) => return Err(BodyError::Closed { problem: error.to_string() }),
                // Trailers carry nothing that Pelton reads.
                Some(Ok(frame)) => {
                    frame.into_data().map_or(Ok(()), |data| collector.push(data)).map_err(too_large)?;
                }
            }
        }
        Ok(())
    };
    tokio::time::timeout(timeout, all).await.map_err(|_| BodyError::Timeout { after: timeout })??;
    Ok(collector.finish())
}

/// A body is larger than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// The pieces of a body. A single piece is kept as it is, several are put together.
#[derive(Debug)]
pub struct Collector {
    announced: usize,
    limit: usize,
    first: Bytes,
    rest: BytesMut,
}

impl Collector {
    /// A collector for at most `limit` bytes. `announced` is what the other side said will come at least: it need not be
    /// read to be refused.
    ///
    /// # Errors
    /// When more than the limit is announced.
    pub fn new(announced: usize, limit: usize) -> Result<Self, TooLarge> {
        if announced > limit {
            return Err(TooLarge);
        }
        Ok(Self { announced, limit, first: Bytes::new(), rest: BytesMut::new() })
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// When it does not fit any more.
    pub fn push(&mut self, data: Bytes) -> Result<(), TooLarge> {
        let have = self.len();
        if data.len() > self.room() {
            return Err(TooLarge);
        }
        if have == 0 {
            self.first = data;
            return Ok(());
        }
        if self.rest.is_empty() {
            self.rest.reserve(self.announced.max(have + data.len()));
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(&data);
        Ok(())
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    /// Whether nothing was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that still fit.
    pub(crate) fn room(&self) -> usize {
        self.limit - self.len()
    }

    /// The whole.
    #[must_use]
    pub fn finish(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;

    /// Gives its pieces, then ends or stays silent.
    struct Pieces(VecDeque<Bytes>, bool);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None if self.1 => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    const LONG: Duration = Duration::from_secs(30);

    fn pieces(texts: &[&'static str], ends: bool) -> Pieces {
        Pieces(texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect(), ends)
    }

    #[tokio::test]
    async fn one_piece_is_not_copied_and_several_are_joined() {
        let one = Bytes::from_static(b"abc");
        let read = read_body(Pieces([one.clone()].into(), true), 3, LONG).await.unwrap();
        assert_eq!(read.as_ptr(), one.as_ptr());
        assert_eq!(read_body(pieces(&["a", "bc", "d"], true), 4, LONG).await.unwrap(), "abcd");
        assert_eq!(read_body(pieces(&[], true), 0, LONG).await.unwrap(), "");
    }

    #[tokio::test(start_paused = true)]
    async fn too_large_and_too_slow() {
        for texts in [&["abcde"][..], &["ab", "cde"][..]] {
            let error = read_body(pieces(texts, true), 4, LONG).await;
            assert_eq!(error, Err(BodyError::TooLarge { limit: 4 }), "{texts:?}");
        }
        let full = http_body_util::Full::new(Bytes::from_static(b"abcde"));
        assert_eq!(read_body(full, 4, LONG).await, Err(BodyError::TooLarge { limit: 4 }));
        let error = read_body(pieces(&["a"], false), 4, LONG).await;
        assert_eq!(error, Err(BodyError::Timeout { after: LONG }));
    }
}
