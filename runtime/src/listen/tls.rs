//! The certificate of a listener, read again when its files change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::ListenError;
use crate::config::TlsFiles;

pub(super) struct ServerTls {
    name: &'static str,
    certificate: PathBuf,
    key: PathBuf,
    config: ArcSwap<ServerConfig>,
    seen: Mutex<Seen>,
}

/// What the last look at the files showed.
#[derive(Default)]
struct Seen {
    /// When the files that are in force were written.
    written: [Option<SystemTime>; 2],
    /// What is wrong with those that are there now. It is tried again at each look and told once.
    told: Option<ListenError>,
}

impl ServerTls {
    /// Reads the files; `None` if none are named.
    pub(super) fn load(name: &'static str, files: &TlsFiles) -> Result<Option<Self>, ListenError> {
        let (certificate, key) = match (&files.certificate, &files.key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            (Some(file), None) | (None, Some(file)) => {
                let problem = "a certificate and its key go together, and one of them is not set".to_owned();
                return Err(ListenError::Tls { name, file: file.clone(), problem });
            }
        };
        let written = [modified(&certificate), modified(&key)];
        let config = ArcSwap::from_pointee(server_config(name, &certificate, &key)?);
        Ok(Some(Self { name, certificate, key, config, seen: Mutex::new(Seen { written, told: None }) }))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }

    /// Takes the new files if they have changed; true if it did. After an error the old ones stay in force, and the same
    /// error does not come twice in a row.
    pub(super) fn reload_if_changed(&self) -> Result<bool, ListenError> {
        let now = [modified(&self.certificate), modified(&self.key)];
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.written == now {
            seen.told = None;
            return Ok(false);
        }
        match server_config(self.name, &self.certificate, &self.key) {
            Ok(config) => {
                self.config.store(Arc::new(config));
                *seen = Seen { written: now, told: None };
                Ok(true)
            }
            Err(error) if seen.told.as_ref() == Some(&error) => Ok(false),
            Err(error) => {
                seen.told = Some(error.clone());
                Err(error)
            }
        }
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

fn server_config(name: &'static str, certificate: &Path, key: &Path) -> Result<ServerConfig, ListenError> {
    let failed = |file: &Path, problem: String| ListenError::Tls { name, file: file.to_owned(), problem };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| failed(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(failed(certificate, "it holds no certificate in PEM form".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| failed(key, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_wrong_with_changed_files_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (dir.path().join("certificate.pem"), dir.path().join("key.pem"));
        let mut age = 0;
        let mut write = |text: &str| {
            std::fs::write(&certificate, text).unwrap();
            age += 10;
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(age);
            std::fs::File::options().append(true).open(&certificate).unwrap().set_modified(time).unwrap();
        };
        write(&pair.cert.pem());
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        let files = TlsFiles { certificate: Some(certificate.clone()), key: Some(key) };
        let tls = ServerTls::load("ingress", &files).unwrap().unwrap();
        write("nonsense");
        assert!(tls.reload_if_changed().is_err());
        assert_eq!(tls.reload_if_changed(), Ok(false), "told already");
        write(&pair.cert.pem());
        assert_eq!(tls.reload_if_changed(), Ok(true));
        write("nonsense");
        assert!(tls.reload_if_changed().is_err(), "it is broken anew");
    }
}
