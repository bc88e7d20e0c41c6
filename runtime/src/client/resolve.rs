//! Names to addresses.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_core::future::BoxFuture;

/// Finds the addresses of a host name.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host`, best first, each with `port`. The caller limits the time.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// Asks the operating system (`/etc/hosts`, DNS …).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

impl<R: Resolve + ?Sized> Resolve for Arc<R> {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.as_ref().resolve(host, port)
    }
}
