//! A subscriber in a thread of its own that knows which partition an event comes from: by its subject.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::PARTITIONS;
use crate::process::wait;

/// The first and the last delivery of a partition.
#[derive(Clone, Copy)]
pub(super) struct Deliveries {
    pub(super) first: Instant,
    pub(super) last: Instant,
}

type ByPartition = BTreeMap<u32, Deliveries>;

/// Answers 204 to everything until the program ends.
pub(super) struct Subscriber {
    pub(super) address: String,
    deliveries: Arc<Mutex<ByPartition>>,
}

impl Subscriber {
    pub(super) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket takes options");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let deliveries = Arc::<Mutex<ByPartition>>::default();
        let noted = deliveries.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let listener = TcpListener::from_std(listener).expect("a runtime takes sockets");
                loop {
                    let Ok((stream, _)) = listener.accept().await else { continue };
                    tokio::spawn(serve(stream, noted.clone()));
                }
            });
        });
        Self { address, deliveries }
    }

    /// What came since the last [`forget`](Self::forget).
    pub(super) fn deliveries(&self) -> ByPartition {
        self.noted().clone()
    }

    pub(super) fn forget(&self) {
        self.noted().clear();
    }

    /// Waits until something has come from every partition.
    pub(super) fn hears_all(&self) {
        wait(|| self.noted().len() == PARTITIONS as usize);
    }

    fn noted(&self) -> MutexGuard<'_, ByPartition> {
        self.deliveries.lock().expect("nobody panics with it")
    }
}

async fn serve(mut stream: TcpStream, noted: Arc<Mutex<ByPartition>>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::with_capacity(16 * 1024);
    while stream.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
        while let Some(length) = crate::peers::whole_request(&buffer) {
            note(&buffer[..length], &noted);
            buffer.drain(..length);
            if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.is_err() {
                return;
            }
        }
    }
}

fn note(request: &[u8], noted: &Mutex<ByPartition>) {
    let subject = crate::peers::header(request, "ce-subject");
    let Some(partition) = subject.and_then(|subject| subject.parse().ok()) else { return };
    let now = Instant::now();
    let mut noted = noted.lock().expect("nobody panics with it");
    noted.entry(partition).or_insert(Deliveries { first: now, last: now }).last = now;
}
