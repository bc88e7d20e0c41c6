//! A connection to a Pelton: HTTP/1.1 over TCP or TLS, one request at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::failure::Failure;

/// Further certificates to trust: a PEM file, for a Pelton behind a private authority.
const CA_VARIABLE: &str = "PELTON_CA_CERTIFICATES";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a Pelton is.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// As it was given, without a slash at the end.
    pub(crate) url: String,
    authority: HeaderValue,
    host: String,
    port: u16,
    path: String,
    tls: Option<TlsConnector>,
}

impl Endpoint {
    /// Reads an `http://` or `https://` URL; `origin` is the flag or variable it comes from.
    pub(crate) fn parse(url: &str, origin: &str) -> Result<Self, Failure> {
        let wrong = |what: &str| {
            let text = format!("{origin} is `{url}`: {what}; write it like http://127.0.0.1:9090");
            Failure::usage(Some("PEL-1708"), text)
        };
        let url = url.trim_end_matches('/');
        let uri: Uri = url.parse().map_err(|_| wrong("this is no URL"))?;
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if uri.query().is_some() || authority.as_str().contains('@') {
            return Err(wrong("it has a query or a user"));
        }
        let (port, tls) = match uri.scheme_str() {
            Some("http") => (80, None),
            Some("https") => (443, Some(tls_connector()?)),
            _ => return Err(wrong("the scheme is neither http nor https")),
        };
        Ok(Self {
            url: url.to_owned(),
            authority: authority.as_str().parse().map_err(|_| wrong("its host is not valid"))?,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(port),
            path: uri.path().trim_end_matches('/').to_owned(),
            tls,
        })
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> std::io::Result<Connection> {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.open()).await;
        connected.unwrap_or_else(|_| {
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no connection within 5 s"))
        })
    }

    async fn open(&self) -> std::io::Result<Connection> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        let sender = match &self.tls {
            None => handshake(tcp).await?,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone()).map_err(std::io::Error::other)?;
                handshake(tls.connect(name, tcp).await?).await?
            }
        };
        Ok(Connection { sender, authority: self.authority.clone(), path: self.path.clone() })
    }
}

async fn handshake<S>(stream: S) -> std::io::Result<SendRequest<Full<Bytes>>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    // An error of the connection is seen by the request that meets it.
    tokio::spawn(async move { drop(driver.await) });
    Ok(sender)
}

fn tls_connector() -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = std::env::var_os(CA_VARIABLE).map(std::path::PathBuf::from) {
        let wrong = |what: String| {
            Failure::usage(Some("PEL-1704"), format!("{CA_VARIABLE} {}: {what}", path.display()))
        };
        let certificates = CertificateDer::pem_file_iter(&path).map_err(|error| wrong(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::failed(None, format!("TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// An open connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: HeaderValue,
    path: String,
}

impl Connection {
    /// Sends a request whose URI is a path (with query) below the endpoint's.
    pub(crate) async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        request.headers_mut().insert(HOST, self.authority.clone());
        if !self.path.is_empty() {
            let below = request.uri().path_and_query().map_or("/", |path| path.as_str());
            // Two valid paths make a valid path.
            if let Ok(uri) = format!("{}{below}", self.path).parse() {
                *request.uri_mut() = uri;
            }
        }
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_every_form() {
        for (url, host, port, path) in [
            ("http://127.0.0.1:9090", "127.0.0.1", 9090, ""),
            ("http://127.0.0.1:9090/", "127.0.0.1", 9090, ""),
            ("http://pelton", "pelton", 80, ""),
            ("http://[::1]:9090", "::1", 9090, ""),
            ("https://pelton.example.com/admin/", "pelton.example.com", 443, "/admin"),
        ] {
            let endpoint =
                Endpoint::parse(url, "PELTON_ADMIN").unwrap_or_else(|failure| panic!("{url}: {failure}"));
            assert_eq!(
                (endpoint.host.as_str(), endpoint.port, endpoint.path.as_str()),
                (host, port, path),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_no_url_is_refused_and_says_where_it_comes_from() {
        for url in ["", "127.0.0.1:9090", "ftp://x", "http://", "http://u@x", "http://x?y"] {
            let Err(failure) = Endpoint::parse(url, "PELTON_ADMIN") else { panic!("{url} is taken") };
            assert!(failure.to_string().contains("PELTON_ADMIN"), "{failure}");
        }
    }
}
