//! Batches and frames as bytes. Pure: no file, no clock. The layout is specified in the module doc of `embedded`.

/// Alignment of batch headers: the smallest unit that a disk writes whole.
pub(super) const BLOCK: u64 = 512;
/// The newest format known here.
pub(super) const FORMAT: u32 = 1;
/// Bytes of a batch header.
pub(super) const BATCH_HEADER: usize = 48;
/// Zero bytes that end every batch, so that a reader that walks frames sees the end.
const TERMINATOR: usize = 8;
/// Checksum, length, kind and three spare bytes of a frame.
pub(super) const FRAME_PREFIX: usize = 12;
/// Bytes a record takes beside its payload.
pub(super) const RECORD_OVERHEAD: usize = FRAME_PREFIX + 24;

const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"PbT1");
const SEGMENT_MAGIC: [u8; 8] = *b"PELTSEG\0";
const TRAILER_MAGIC: u32 = u32::from_le_bytes(*b"PfT1");
/// Bytes of the trailer that are not zero: the last ones of a sealed segment.
const TRAILER: usize = 24;

/// Marks of a batch.
pub(super) mod flags {
    /// The batch states everything that is known beside records; what was known before it no longer counts.
    pub(in super::super) const CHECKPOINT: u32 = 1;
    /// The batch is the footer of its segment.
    pub(in super::super) const FOOTER: u32 = 2;
}

/// What every checksum of a segment starts from. Bytes of another log, or of another segment, cannot look valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seed(u32);

impl Seed {
    pub(super) fn new(log_id: u64, segment: u64) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(&log_id.to_le_bytes()), &segment.to_le_bytes()))
    }

    /// A seed that does not tell segments apart: what the model test must find out.
    #[cfg(test)]
    pub(super) fn broken() -> Self {
        Self(0)
    }

    fn sum(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0, bytes)
    }
}

pub(super) fn align(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The first block of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) format: u32,
    pub(super) log_id: u64,
    pub(super) number: u64,
}

impl SegmentHeader {
    pub(super) fn encode(self) -> [u8; BLOCK as usize] {
        let mut block = [0; BLOCK as usize];
        block[..8].copy_from_slice(&SEGMENT_MAGIC);
        block[12..16].copy_from_slice(&self.format.to_le_bytes());
        block[16..24].copy_from_slice(&self.log_id.to_le_bytes());
        block[24..32].copy_from_slice(&self.number.to_le_bytes());
        let sum = crc32c::crc32c(&block[12..]);
        block[8..12].copy_from_slice(&sum.to_le_bytes());
        block
    }

    /// `None` if the block is damaged or not a segment's.
    pub(super) fn decode(block: &[u8]) -> Option<Self> {
        let block = block.get(..BLOCK as usize)?;
        if block[..8] != SEGMENT_MAGIC || u32_at(block, 8)? != crc32c::crc32c(&block[12..]) {
            return None;
        }
        Some(Self { format: u32_at(block, 12)?, log_id: u64_at(block, 16)?, number: u64_at(block, 24)? })
    }
}

/// The header of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) sequence: u64,
    /// Bytes of its frames.
    pub(super) length: u32,
    /// Number of its frames.
    pub(super) count: u32,
    pub(super) flags: u32,
}

impl BatchHeader {
    /// `None` unless `bytes` start with a whole header of this very segment.
    pub(super) fn decode(bytes: &[u8], seed: Seed, segment: u64) -> Option<Self> {
        let bytes = bytes.get(..BATCH_HEADER)?;
        let genuine = u32_at(bytes, 0)? == BATCH_MAGIC
            && u32_at(bytes, 4)? == seed.sum(&bytes[8..])
            && u64_at(bytes, 8)? == segment;
        if !genuine {
            return None;
        }
        Some(Self {
            sequence: u64_at(bytes, 16)?,
            length: u32_at(bytes, 24)?,
            count: u32_at(bytes, 28)?,
            flags: u32_at(bytes, 40)?,
        })
    }

    /// Bytes from this header to the next.
    pub(super) fn disk_bytes(&self) -> u64 {
        align(BATCH_HEADER as u64 + u64::from(self.length) + TERMINATOR as u64)
    }
}

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Record = 1,
    Progress = 2,
    Topic = 3,
    TopicDeleted = 4,
    Bounds = 5,
    Log = 6,
    Runs = 7,
    Extents = 8,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [
            Self::Record,
            Self::Progress,
            Self::Topic,
            Self::TopicDeleted,
            Self::Bounds,
            Self::Log,
            Self::Runs,
            Self::Extents,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// Where a record belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordPlace {
    pub(super) topic: u32,
    pub(super) partition: u32,
    pub(super) offset: u64,
    /// Milliseconds since the epoch.
    pub(super) time: u64,
}

/// A batch under construction. Checksums and header come last, when its segment is known.
#[derive(Debug, Default)]
pub(super) struct BatchBuffer {
    bytes: Vec<u8>,
    frames_end: usize,
    count: u32,
}

impl BatchBuffer {
    /// Empties it, keeping the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(BATCH_HEADER, 0);
        self.frames_end = BATCH_HEADER;
        self.count = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes it will take on the disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        align((self.frames_end + TERMINATOR) as u64)
    }

    /// Adds a record; answers the position of its frame within the batch.
    pub(super) fn record(&mut self, place: RecordPlace, payload: &[u8]) -> u32 {
        let at = self.frames_end;
        let length = RECORD_OVERHEAD - 8 + payload.len();
        self.bytes.truncate(at);
        let mut head = [0; RECORD_OVERHEAD];
        head[4..8].copy_from_slice(&small(length).to_le_bytes());
        head[8] = Kind::Record as u8;
        head[12..16].copy_from_slice(&place.topic.to_le_bytes());
        head[16..20].copy_from_slice(&place.partition.to_le_bytes());
        head[20..28].copy_from_slice(&place.offset.to_le_bytes());
        head[28..36].copy_from_slice(&place.time.to_le_bytes());
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(payload);
        self.frames_end = self.bytes.len();
        self.count += 1;
        small(at)
    }

    /// Adds any other frame, its body written by `body`.
    pub(super) fn frame(&mut self, kind: Kind, body: impl FnOnce(&mut Vec<u8>)) {
        let at = self.frames_end;
        self.bytes.truncate(at);
        self.bytes.extend_from_slice(&[0; FRAME_PREFIX]);
        self.bytes[at + 8] = kind as u8;
        body(&mut self.bytes);
        let length = small(self.bytes.len() - at - 8);
        self.bytes[at + 4..at + 8].copy_from_slice(&length.to_le_bytes());
        self.frames_end = self.bytes.len();
        self.count += 1;
    }

    /// Completes it for a place in a segment: checksums, header, padding. Can be done again for another place.
    pub(super) fn seal(
        &mut self,
        seed: Seed,
        segment: u64,
        sequence: u64,
        flags: u32,
        time: u64,
    ) -> &mut [u8] {
        let disk_bytes = usize::try_from(self.disk_bytes()).unwrap_or(usize::MAX);
        self.bytes.truncate(self.frames_end);
        let mut at = BATCH_HEADER;
        while at < self.frames_end {
            let end = at + 8 + u32_at(&self.bytes, at + 4).unwrap_or(0) as usize;
            let sum = seed.sum(&self.bytes[at + 4..end]);
            self.bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
            at = end;
        }
        self.bytes.resize(disk_bytes, 0);
        let length = small(self.frames_end - BATCH_HEADER);
        let header = &mut self.bytes[..BATCH_HEADER];
        header[..4].copy_from_slice(&BATCH_MAGIC.to_le_bytes());
        header[8..16].copy_from_slice(&segment.to_le_bytes());
        header[16..24].copy_from_slice(&sequence.to_le_bytes());
        header[24..28].copy_from_slice(&length.to_le_bytes());
        header[28..32].copy_from_slice(&self.count.to_le_bytes());
        header[32..40].copy_from_slice(&time.to_le_bytes());
        header[40..44].copy_from_slice(&flags.to_le_bytes());
        header[44..48].fill(0);
        let sum = seed.sum(&header[8..]);
        header[4..8].copy_from_slice(&sum.to_le_bytes());
        &mut self.bytes
    }
}

/// A batch is bounded by its segment, whose positions have 32 bits.
fn small(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a batch is smaller than a segment, and those have 32-bit positions")
}

/// What a reader that walks frames meets next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// A whole frame of `size` bytes.
    Frame { kind: Kind, body: &'a [u8], size: usize },
    /// The zeros behind the last frame of a batch.
    End,
    /// Bytes that are no frame of this segment.
    Damaged,
}

/// The frame at the start of `bytes`.
pub(super) fn step(bytes: &[u8], seed: Seed) -> Step<'_> {
    let (Some(sum), Some(length)) = (u32_at(bytes, 0), u32_at(bytes, 4)) else {
        return Step::Damaged;
    };
    if length == 0 {
        return if sum == 0 { Step::End } else { Step::Damaged };
    }
    let size = 8 + length as usize;
    let Some(frame) = bytes.get(..size).filter(|_| size >= FRAME_PREFIX) else {
        return Step::Damaged;
    };
    match Kind::of(frame[8]) {
        Some(kind) if seed.sum(&frame[4..]) == sum => {
            Step::Frame { kind, body: &frame[FRAME_PREFIX..], size }
        }
        _ => Step::Damaged,
    }
}

/// The size that the frame at the start of `bytes` claims to have; 0 at the end of a batch. `None` without a whole prefix.
pub(super) fn claimed_size(bytes: &[u8]) -> Option<usize> {
    let length = u32_at(bytes, 4)? as usize;
    Some(if length == 0 { 0 } else { length + 8 })
}

/// A record frame's body.
pub(super) fn record(body: &[u8]) -> Option<(RecordPlace, &[u8])> {
    let place = RecordPlace {
        topic: u32_at(body, 0)?,
        partition: u32_at(body, 4)?,
        offset: u64_at(body, 8)?,
        time: u64_at(body, 16)?,
    };
    Some((place, &body[24..]))
}

/// Calls `visit` with the position (within the batch) of each valid frame of the batch that starts at `bytes`. Answers
/// whether the batch is whole: every frame valid, none missing, the padding zero.
pub(super) fn walk<'a>(
    header: &BatchHeader,
    bytes: &'a [u8],
    seed: Seed,
    mut visit: impl FnMut(usize, Kind, &'a [u8]),
) -> bool {
    let end = BATCH_HEADER + header.length as usize;
    let Some(frames) = bytes.get(..end) else { return false };
    let (mut at, mut count, mut whole) = (BATCH_HEADER, 0, true);
    while at < end {
        match step(&frames[at..], seed) {
            Step::Frame { kind, body, size } => {
                visit(at, kind, body);
                count += 1;
                at += size;
            }
            Step::End => return false,
            Step::Damaged => {
                // The length may be right although something else is damaged: the frames behind it show it.
                whole = false;
                match claimed_size(&frames[at..]) {
                    Some(size) if size > 0 && size <= end - at => at += size,
                    _ => return false,
                }
            }
        }
    }
    let padding = usize::try_from(header.disk_bytes()).ok().and_then(|disk_bytes| bytes.get(end..disk_bytes));
    whole && count == header.count && padding.is_some_and(|padding| padding.iter().all(|byte| *byte == 0))
}

/// The last block of a sealed segment: where its footer starts.
pub(super) fn encode_trailer(seed: Seed, segment: u64, footer_at: u64) -> [u8; BLOCK as usize] {
    let mut block = [0; BLOCK as usize];
    let trailer = &mut block[BLOCK as usize - TRAILER..];
    trailer[8..16].copy_from_slice(&segment.to_le_bytes());
    trailer[16..24].copy_from_slice(&footer_at.to_le_bytes());
    let sum = seed.sum(&trailer[8..]);
    trailer[..4].copy_from_slice(&TRAILER_MAGIC.to_le_bytes());
    trailer[4..8].copy_from_slice(&sum.to_le_bytes());
    block
}

/// The position of the footer, if `block` is a valid trailer of this segment.
pub(super) fn decode_trailer(block: &[u8], seed: Seed, segment: u64) -> Option<u64> {
    let (zeros, trailer) = block.split_at_checked(block.len().checked_sub(TRAILER)?)?;
    let genuine = u32_at(trailer, 0)? == TRAILER_MAGIC
        && u32_at(trailer, 4)? == seed.sum(&trailer[8..])
        && u64_at(trailer, 8)? == segment
        && zeros.iter().all(|byte| *byte == 0);
    if genuine { u64_at(trailer, 16) } else { None }
}

/// Reads numbers and texts off the front of a body; `None` where it ends too early.
#[derive(Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        u32_at(self.take(4)?, 0)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        u64_at(self.take(8)?, 0)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

/// Adds bytes with their length before them.
pub(super) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&small(bytes.len()).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 5;

    fn seed() -> Seed {
        Seed::new(77, SEGMENT)
    }

    fn place(offset: u64) -> RecordPlace {
        RecordPlace { topic: 1, partition: 2, offset, time: 3 }
    }

    fn batch() -> Vec<u8> {
        let mut batch = BatchBuffer::default();
        batch.clear();
        assert!(batch.is_empty());
        assert_eq!(batch.record(place(10), b"first"), 48);
        batch.record(place(11), &[7; 600]);
        batch.frame(Kind::TopicDeleted, |out| out.extend_from_slice(&9u32.to_le_bytes()));
        let bytes = batch.seal(seed(), SEGMENT, 4, flags::CHECKPOINT, 1000).to_vec();
        assert_eq!(bytes.len() as u64, batch.disk_bytes());
        // Sealed again for another place, it differs in seed, segment and sequence only.
        let other = batch.seal(Seed::new(77, 6), 6, 1, 0, 0).to_vec();
        assert_eq!(other.len(), bytes.len());
        assert!(BatchHeader::decode(&other, seed(), SEGMENT).is_none());
        bytes
    }

    fn whole(bytes: &[u8]) -> Option<Vec<Kind>> {
        let header = BatchHeader::decode(bytes, seed(), SEGMENT)?;
        let mut kinds = Vec::new();
        walk(&header, bytes, seed(), |_, kind, _| kinds.push(kind)).then_some(kinds)
    }

    #[test]
    fn a_batch_is_read_as_it_was_made() {
        let bytes = batch();
        let header = BatchHeader::decode(&bytes, seed(), SEGMENT).unwrap();
        assert_eq!((header.sequence, header.count, header.flags), (4, 3, flags::CHECKPOINT));
        assert_eq!(header.disk_bytes(), bytes.len() as u64);
        assert_eq!(whole(&bytes), Some(vec![Kind::Record, Kind::Record, Kind::TopicDeleted]));
        let Step::Frame { body, .. } = step(&bytes[48..], seed()) else { panic!("no frame") };
        assert_eq!(record(body), Some((place(10), b"first".as_slice())));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_leaves_a_batch_whole() {
        let bytes = batch();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(whole(&damaged), None, "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert_eq!(whole(&bytes[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn a_batch_of_another_segment_or_log_is_not_valid() {
        let bytes = batch();
        for (seed, segment) in [(Seed::new(77, 6), 6), (Seed::new(78, SEGMENT), SEGMENT)] {
            assert!(BatchHeader::decode(&bytes, seed, segment).is_none());
            assert_eq!(step(&bytes[48..], seed), Step::Damaged);
        }
    }

    #[test]
    fn every_batch_ends_with_zeros_that_end_a_walk() {
        // Payloads that would fill their last block exactly.
        for payload in 400..440 {
            let mut batch = BatchBuffer::default();
            batch.clear();
            batch.record(place(0), &vec![1; payload]);
            let bytes = batch.seal(seed(), SEGMENT, 1, 0, 0);
            let end = BATCH_HEADER + RECORD_OVERHEAD + payload;
            assert_eq!(step(&bytes[end..], seed()), Step::End, "{payload}");
        }
    }

    #[test]
    fn headers_and_trailers_are_verified() {
        let header = SegmentHeader { format: FORMAT, log_id: 77, number: SEGMENT };
        assert_eq!(SegmentHeader::decode(&header.encode()), Some(header));
        let trailer = encode_trailer(seed(), SEGMENT, 4096);
        assert_eq!(decode_trailer(&trailer, seed(), SEGMENT), Some(4096));
        for bit in 0..512 * 8 {
            let (mut damaged, mut cut_off) = (header.encode(), trailer);
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&damaged), None, "bit {bit}");
            cut_off[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_trailer(&cut_off, seed(), SEGMENT), None, "bit {bit}");
        }
    }
}
