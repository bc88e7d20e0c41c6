//! From a target to an open connection: resolve, check, connect, TLS.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::{CallError, ClientOptions, Host, Resolve, Target};
use crate::egress::{EgressPolicy, Forbidden};
use crate::limits::ADDRESSES_TRIED_MAX;
use crate::stream::Stream;

/// The file with extra certificates to trust is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot trust the certificates in {}: {problem}", .file.display())]
pub struct TrustError {
    /// The file named by `egress.extra-ca-certificates`.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

impl TrustError {
    /// The stable code, see `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "PEL-1529"
    }
}

/// An open connection and the protocol it speaks.
pub(super) struct Opened {
    pub(super) stream: Stream,
    pub(super) is_http2: bool,
}

pub(super) struct Connector {
    resolver: Box<dyn Resolve>,
    tls: TlsConnector,
    egress: EgressPolicy,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(
        options: &ClientOptions,
        resolver: Box<dyn Resolve>,
        extra_ca_certificates: Option<&Path>,
    ) -> Result<Self, TrustError> {
        let tls = TlsConnector::from(Arc::new(tls_config(extra_ca_certificates)?));
        Ok(Self { resolver, tls, egress: options.egress.clone(), timeout: options.connect_timeout })
    }

    pub(super) async fn open(&self, target: &Target) -> Result<Opened, CallError> {
        let deadline = Instant::now() + self.timeout;
        let addresses = self.allowed(target, self.resolve(target, deadline).await?)?;
        let tcp = self.connect(target, &addresses, deadline).await?;
        let Some(server_name) = target.server_name() else {
            return Ok(Opened { stream: Stream::Plain(tcp), is_http2: false });
        };
        let failed = |problem: String| CallError::Tls { origin: target.origin().to_owned(), problem };
        let handshake = self.tls.connect(server_name.clone(), tcp);
        let tls = timeout_at(deadline, handshake)
            .await
            .map_err(|_| failed(format!("no handshake within {} ms", self.timeout.as_millis())))?
            .map_err(|error| failed(error.to_string()))?;
        let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Opened { stream: Stream::Tls(Box::new(tls.into())), is_http2 })
    }

    async fn resolve(&self, target: &Target, deadline: Instant) -> Result<Vec<SocketAddr>, CallError> {
        let name = match target.host() {
            Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, target.port())]),
            Host::Name(name) => name,
        };
        let failed = |problem: String| CallError::Resolve { host: name.clone(), problem };
        let addresses = timeout_at(deadline, self.resolver.resolve(name, target.port()))
            .await
            .map_err(|_| failed(format!("no answer within {} ms", self.timeout.as_millis())))?
            .map_err(|error| failed(error.to_string()))?;
        if addresses.is_empty() { Err(failed("it has no address".to_owned())) } else { Ok(addresses) }
    }

    /// The addresses that may be connected to; an error when there is none.
    fn allowed(&self, target: &Target, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, CallError> {
        if target.is_replica() {
            return Ok(addresses);
        }
        let mut first_refused: Option<(IpAddr, Forbidden)> = None;
        let mut allowed = addresses;
        allowed.retain(|address| match self.egress.check(address.ip()) {
            Ok(()) => true,
            Err(reason) => {
                first_refused.get_or_insert((address.ip(), reason));
                false
            }
        });
        allowed.truncate(ADDRESSES_TRIED_MAX);
        match first_refused {
            Some((address, reason)) if allowed.is_empty() => {
                Err(CallError::Forbidden { host: target.host().to_string(), address, reason })
            }
            _ => Ok(allowed),
        }
    }

    /// Tries the addresses in order; each gets an equal part of the time that is left, so that one which swallows
    /// packets does not use it all.
    async fn connect(
        &self,
        target: &Target,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<TcpStream, CallError> {
        let mut problem = String::new();
        for (index, address) in addresses.iter().enumerate() {
            let now = Instant::now();
            let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            let until = now + deadline.saturating_duration_since(now) / left;
            match timeout_at(until, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => {
                    // Small requests must not wait for an acknowledgement; without the option they are merely slower.
                    let _ = tcp.set_nodelay(true);
                    return Ok(tcp);
                }
                Ok(Err(error)) => problem = format!("{address}: {error}"),
                Err(_) => problem = format!("{address}: no answer within {} ms", (until - now).as_millis()),
            }
        }
        Err(CallError::Connect { origin: target.origin().to_owned(), problem })
    }
}

fn tls_config(extra_ca_certificates: Option<&Path>) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = extra_ca_certificates {
        let failed = |problem: String| TrustError { file: file.to_owned(), problem };
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))?;
        let before = roots.len();
        for certificate in certificates {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            roots.add(certificate).map_err(|error| failed(error.to_string()))?;
        }
        if roots.len() == before {
            return Err(failed("it holds no certificate in PEM form".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
