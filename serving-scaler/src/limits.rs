//! Every limit of serving, named and in one place.

/// Requests of one class (HTTP requests, event deliveries) that may wait for a place on a revision; the next is refused. As
/// many as Knative's activator lets wait. Each class has its own, so that a flood of the one does not refuse the other.
pub const QUEUE_MAX: usize = 10_000;
/// Waiters of a revision that are told of their place and have not taken it yet. When places appear for thousands at once, the
/// next is told once one of these has taken its place, so that everything else that runs is not stood in line behind all of
/// them.
pub const WAKES_MAX: usize = 64;
