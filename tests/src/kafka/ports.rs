//! Ports for the listeners of a node.

use std::net::{Ipv4Addr, TcpListener};

/// Where ports are looked for: below what systems hand out to outgoing connections. A node that is down must find its ports
/// free when it comes back, and clients that try to reach it meanwhile must not be given one of them as their own.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// The ports of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) plain: u16,
    pub(super) controller: u16,
    pub(super) sasl_ssl: u16,
    pub(super) ssl: u16,
}

/// Ports that nobody else can take while this lives.
#[derive(Debug)]
pub(super) struct Reserved([TcpListener; 4]);

impl Reserved {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| free()))
    }

    pub(super) fn ports(&self) -> Ports {
        let [plain, controller, sasl_ssl, ssl] =
            self.0.each_ref().map(|listener| listener.local_addr().expect("it is bound").port());
        Ports { plain, controller, sasl_ssl, ssl }
    }
}

fn free() -> TcpListener {
    loop {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, fastrand::u16(RANGE))) {
            return listener;
        }
    }
}
