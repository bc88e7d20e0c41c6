//! Tools for events: send them, watch them, receive them, deal with those that nobody took.

pub(crate) mod dead_letters;
pub(crate) mod replay;
pub(crate) mod send;
pub(crate) mod sink;
pub(crate) mod tail;

mod show;
