//! The heart of the gateway: one queue per revision, with exact places on its replicas.
//!
//! All requests of a revision wait in one line and not at a replica, and go to whichever replica has room first: nobody waits
//! behind a long request while another replica idles, and no replica ever has more than its `containerConcurrency`.
//!
//! | module | what |
//! |---|---|
//! | [`Core`] | who gets which place, as a synchronous state machine without clock and randomness of its own |
//! | [`Queue`] | the core behind a lock: futures that wait, guards that give places back, measurements |

mod concurrency;
mod core;
mod handle;
mod replicas;
mod waiters;

pub use self::concurrency::{Concurrency, Measured};
pub use self::core::{Arrival, Class, Closed, Core, Grant, NoPlace, Place, Taken};
pub use self::handle::{Acquire, Change, Queue, Report, Slot};
pub use self::replicas::Load;
pub use self::waiters::WaiterId;
