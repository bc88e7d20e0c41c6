//! Bytes to record; the form is in the module doc of `record`.

use bytes::Bytes;

use super::{
    DeadLetterReason, Envelope, Failure, Origin, Record, RecordError, Step, VERSION, flag, step_kind,
};
use crate::event::Event;
use crate::timestamp::Timestamp;
use crate::trace::TraceContext;

impl Record {
    /// Reads a record; key, attributes and data are slices of `bytes`, nothing of them is copied.
    ///
    /// # Errors
    /// [`RecordError`] for every sequence of bytes that [`encode`](Self::encode) does not write.
    pub fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        let mut reader = Reader { bytes, at: 0 };
        let version = reader.u8()?;
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        let flags_at = reader.at;
        let flags = reader.u8()?;
        let data_without_event = flags & flag::DATA != 0 && flags & flag::EVENT == 0;
        if flags & !flag::ALL != 0 || data_without_event {
            return Err(RecordError::Damaged(flags_at));
        }
        let has = |flag: u8| flags & flag != 0;
        let time = reader.timestamp()?;
        let hops = reader.u8()?;
        let key = has(flag::KEY).then(|| reader.bytes()).transpose()?;
        let trace = reader.trace(has(flag::TRACE), has(flag::BAGGAGE))?;
        let origin = has(flag::ORIGIN).then(|| reader.origin()).transpose()?;
        let event = has(flag::EVENT).then(|| reader.event(has(flag::DATA))).transpose()?;
        reader.end()?;
        Ok(Self { envelope: Envelope { key, time, trace, hops, origin }, event })
    }
}

/// Takes parts from the front; an error names the place where the part began.
struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let array = rest.first_chunk::<N>().copied().ok_or(RecordError::Damaged(self.at))?;
        self.at += N;
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, RecordError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_le_bytes)
    }

    fn timestamp(&mut self) -> Result<Timestamp, RecordError> {
        self.u64().map(Timestamp::from_millis)
    }

    fn bytes(&mut self) -> Result<Bytes, RecordError> {
        let start = self.at;
        let length = self.u32()?;
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let end = end.filter(|end| *end <= self.bytes.len()).ok_or(RecordError::Damaged(start))?;
        let part = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(part)
    }

    fn text(&mut self) -> Result<Box<str>, RecordError> {
        let start = self.at;
        let part = self.bytes()?;
        std::str::from_utf8(&part).map(Box::from).map_err(|_| RecordError::Damaged(start))
    }

    /// A text that is there because it is not empty: so each record has one form only.
    fn some_text(&mut self) -> Result<Box<str>, RecordError> {
        let start = self.at;
        self.text().and_then(|text| if text.is_empty() { Err(RecordError::Damaged(start)) } else { Ok(text) })
    }

    fn trace(&mut self, traced: bool, baggage: bool) -> Result<Option<TraceContext>, RecordError> {
        let mut trace = TraceContext::default();
        if traced {
            (trace.parent, trace.state) = (self.some_text()?, self.text()?);
        }
        if baggage {
            trace.baggage = self.some_text()?;
        }
        Ok((traced || baggage).then_some(trace))
    }

    fn origin(&mut self) -> Result<Origin, RecordError> {
        Ok(Origin { trigger: self.text()?, partition: self.u32()?, offset: self.u64()?, step: self.step()? })
    }

    fn step(&mut self) -> Result<Step, RecordError> {
        let start = self.at;
        match self.u8()? {
            step_kind::REPLY => Ok(Step::Reply),
            step_kind::RETRY => {
                let (attempts, due, failed_at) = (self.u32()?, self.timestamp()?, self.at);
                let failure = match self.u8()? {
                    0 => None,
                    1 => Some(Box::new(self.failure()?)),
                    _ => return Err(RecordError::Damaged(failed_at)),
                };
                Ok(Step::Retry { attempts, due, failure })
            }
            step_kind::DEAD_LETTER => {
                Ok(Step::DeadLetter { attempts: self.u32()?, failure: Box::new(self.failure()?) })
            }
            step_kind::DISCARDED => Ok(Step::Discarded { of: self.u64()? }),
            step_kind::REPLAY => Ok(Step::Replay { id: self.u64()?, from: self.u64()?, to: self.u64()? }),
            _ => Err(RecordError::Damaged(start)),
        }
    }

    fn failure(&mut self) -> Result<Failure, RecordError> {
        let start = self.at;
        Ok(Failure {
            reason: DeadLetterReason::from_byte(self.u8()?).ok_or(RecordError::Damaged(start))?,
            status: self.u16()?,
            destination: self.text()?,
            message: self.text()?,
            body: self.bytes()?,
        })
    }

    fn event(&mut self, with_data: bool) -> Result<Event, RecordError> {
        let start = self.at;
        let attributes = self.bytes()?;
        let data = with_data.then(|| self.bytes.slice(self.at..));
        if with_data {
            self.at = self.bytes.len();
        }
        Event::from_parts(attributes, data).ok_or(RecordError::Damaged(start))
    }

    fn end(&self) -> Result<(), RecordError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(RecordError::Damaged(self.at)) }
    }
}
