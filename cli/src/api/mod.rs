//! Talking to a running Pelton: its admin API and its ingress.

pub(crate) mod admin;
pub(crate) mod connection;
