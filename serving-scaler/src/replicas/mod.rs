//! Replicas as processes of this machine.
//!
//! The modules are in the order of a replica's life: the *fleet* decides that it starts, it gets a *port*, its container
//! becomes a program to *launch*, which runs as a *process* under a *shim*; it is *probed* until it is ready, and its *socket*
//! must be its own; what it writes goes into the *logs*.

mod fleet;
mod launch;
mod logs;
mod ports;
mod probe;
mod process;
mod replica;
mod report;
mod shim;
mod sockets;

pub use fleet::{Fleet, Member, News, Order, Phase, ReplicaId};
pub use launch::{CannotLaunch, ContainerEngine, Identity, Launch, launch};
pub use logs::{Line, Lines};
pub use ports::{NoPort, Port, Ports};
pub use process::{SHIM_COMMAND, Shim};
pub use replica::{Machine, Replica, ReplicaSpec, Step};
pub use report::Ended;
pub use shim::{ShimArguments, ShimError, run};
