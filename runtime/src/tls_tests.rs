//! Client and listener together over TLS.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::sync::Barrier;

use crate::client::{Call, CallError, Client, ClientOptions, HttpClient, SystemResolver, Target};
use crate::config::TlsFiles;
use crate::drain::drain;
use crate::egress::EgressPolicy;
use crate::listen::{ListenError, ListenOptions, Listener};

/// Writes a self-signed certificate for 127.0.0.1 and its key.
fn write_certificate(dir: &Path) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (dir.join("certificate.pem"), dir.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    TlsFiles { certificate: Some(certificate), key: Some(key) }
}

fn client(trusted: Option<&Path>) -> Client {
    let options = ClientOptions {
        connections_per_origin: 8,
        connect_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(60),
        egress: EgressPolicy { allow: vec![], deny: vec![], private_networks: true, loopback: true },
    };
    Client::new(&options, SystemResolver, trusted).unwrap()
}

fn call(url: &str, body: &'static str) -> Call {
    Call {
        target: Target::parse(url).unwrap(),
        method: Method::POST,
        headers: HeaderMap::new(),
        body: Bytes::from_static(body.as_bytes()),
        timeout: Duration::from_secs(10),
        response_limit: 1000,
    }
}

#[tokio::test]
async fn calls_over_tls_share_one_http2_connection() {
    let dir = tempfile::tempdir().unwrap();
    let files = write_certificate(dir.path());
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    let listener = Listener::bind("ingress", address, &files, ListenOptions::default()).unwrap();
    let url = format!("https://{}/", listener.local_address());
    let (trigger, drain) = drain();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    // Four requests meet before any is answered.
    let all_here = Arc::new(Barrier::new(4));
    let make = move |peer: crate::listen::Peer| {
        assert!(peer.is_tls);
        counted.fetch_add(1, Ordering::SeqCst);
        let all_here = all_here.clone();
        service_fn(move |request: Request<Incoming>| {
            let all_here = all_here.clone();
            async move {
                assert_eq!(request.version(), Version::HTTP_2);
                let host = request.uri().authority().unwrap().to_string();
                let body = crate::body::read_body(request.into_body(), 100, Duration::MAX).await.unwrap();
                if body != "first" {
                    all_here.wait().await;
                }
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(host))))
            }
        })
    };
    let serving = tokio::spawn(listener.serve_each(make, drain));
    let client = client(files.certificate.as_deref());
    let host = url.trim_start_matches("https://").trim_end_matches('/').to_owned();
    assert_eq!(client.call(call(&url, "first")).await.unwrap().into_body(), host);
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let (client, call) = (client.clone(), call(&url, "together"));
            tokio::spawn(async move { client.call(call).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().into_body(), host);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    trigger.start();
    serving.await.unwrap();
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let files = write_certificate(dir.path());
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    let listener = Listener::bind("ingress", address, &files, ListenOptions::default()).unwrap();
    let url = format!("https://{}/", listener.local_address());
    let (_trigger, drain) = drain();
    let nothing = service_fn(|_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
    });
    tokio::spawn(listener.serve(nothing, drain));
    let error = client(None).call(call(&url, "x")).await.unwrap_err();
    assert!(matches!(error, CallError::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn changed_files_are_taken_up_and_broken_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let files = write_certificate(dir.path());
    let old = dir.path().join("old.pem");
    std::fs::copy(files.certificate.as_ref().unwrap(), &old).unwrap();
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    let listener = Listener::bind("ingress", address, &files, ListenOptions::default()).unwrap();
    let url = format!("https://{}/", listener.local_address());
    let (_trigger, drain) = drain();
    let service = service_fn(|_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
    });
    tokio::spawn(listener.serve(service, drain));
    client(Some(&old)).call(call(&url, "x")).await.unwrap();
    std::fs::write(files.key.as_ref().unwrap(), "no key").unwrap();
    // The look at the files comes with the clock, which stands still while anything else is to do.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(30)).await;
    tokio::time::resume();
    client(Some(&old)).call(call(&url, "x")).await.unwrap();
    write_certificate(dir.path());
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(30)).await;
    tokio::time::resume();
    client(files.certificate.as_deref()).call(call(&url, "x")).await.unwrap();
    assert!(client(Some(&old)).call(call(&url, "x")).await.is_err());
}

#[tokio::test]
async fn unusable_files_are_clear_errors() {
    let dir = tempfile::tempdir().unwrap();
    let files = write_certificate(dir.path());
    let other = tempfile::tempdir().unwrap();
    let foreign = write_certificate(other.path());
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let absent = Some(PathBuf::from("/nonexistent/key.pem"));
    for (certificate, key, expected) in [
        (files.certificate.clone(), absent.clone(), "No such file"),
        (absent, files.key.clone(), "No such file"),
        (Some(empty.clone()), files.key.clone(), "it holds no certificate"),
        (files.certificate.clone(), Some(empty.clone()), "no items found"),
        (files.certificate.clone(), foreign.key.clone(), "KeyMismatch"),
        (files.certificate.clone(), None, "go together"),
    ] {
        let files = TlsFiles { certificate, key };
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let error = Listener::bind("admin", address, &files, ListenOptions::default()).unwrap_err();
        assert!(matches!(error, ListenError::Tls { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error} should hold {expected:?}");
    }
    for file in [&empty, Path::new("/nonexistent/ca.pem")] {
        let options = ClientOptions {
            connections_per_origin: 1,
            connect_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            egress: EgressPolicy { allow: vec![], deny: vec![], private_networks: true, loopback: true },
        };
        let error = Client::new(&options, SystemResolver, Some(file)).unwrap_err();
        assert_eq!((error.code(), error.file.as_path()), ("PEL-1529", file));
    }
}
