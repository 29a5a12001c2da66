//! Certificates that administrators have, on a real server.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has to fail"
)]

use std::fs;
use std::sync::Arc;

use packcast_https::{Clients, Route, TransportError};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

/// A certificate with its key.
struct Made {
    certificate: Certificate,
    key: KeyPair,
}

fn params(name: &str, is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

fn self_signed(params: &CertificateParams) -> Made {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Made { certificate, key }
}

/// Serves one address with a certificate, and returns its port.
async fn serve(made: &Made) -> u16 {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust the certificate ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(ANSWER).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

/// Returns the outcome of a request of a client that names these certificates in its `ca_file`.
async fn request(port: u16, named: &str) -> Result<u16, String> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, named).unwrap();
    let clients = Clients::new(Some(&file), "test", Route::Loopback).unwrap();
    let url = format!("https://localhost:{port}/");
    match clients.objects.get(url).send().await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) => Err(TransportError::of(&error).to_string()),
    }
}

#[tokio::test]
async fn a_named_certificate_of_an_authority_is_accepted_for_its_own_name() {
    let made = self_signed(&params("localhost", true));
    let port = serve(&made).await;
    assert_eq!(request(port, &made.certificate.pem()).await, Ok(200));
    // Windows editors begin a file with a byte order mark.
    let marked = format!("\u{FEFF}{}", made.certificate.pem());
    assert_eq!(request(port, &marked).await, Ok(200));
}

#[tokio::test]
async fn a_named_certificate_needs_its_name_and_its_time() {
    let other = self_signed(&params("ocs.example.net", true));
    let refused = request(serve(&other).await, &other.certificate.pem()).await;
    insta::assert_snapshot!(refused.unwrap_err(), @"TLS: the server's certificate is for ocs.example.net, not for localhost: correct the address, or get a certificate for this name");

    let mut old = params("localhost", true);
    old.not_before = date_time_ymd(2020, 1, 1);
    old.not_after = date_time_ymd(2021, 1, 1);
    let old = self_signed(&old);
    let refused = request(serve(&old).await, &old.certificate.pem()).await;
    insta::assert_snapshot!(refused.unwrap_err(), @"TLS: the server's certificate has expired: renew it, or correct the clock of this machine");
}

#[tokio::test]
async fn a_certificate_that_nobody_has_named_is_refused_in_words() {
    let named = self_signed(&params("localhost", true)).certificate.pem();
    let authority = self_signed(&params("localhost", true));
    let refused = request(serve(&authority).await, &named).await;
    insta::assert_snapshot!(refused.unwrap_err(), @"TLS: the server shows the certificate of a certificate authority, as most self-signed certificates are: if this is your server, set ca_file to a file with this certificate");

    // The server's certificate was replaced by one of the same name.
    let plain = self_signed(&params("localhost", false));
    let refused = request(serve(&plain).await, &named).await;
    insta::assert_snapshot!(refused.unwrap_err(), @"TLS: the server's certificate does not match the certificate of the same name in ca_file: if the server has a new certificate, replace the one in ca_file");
}

#[tokio::test]
async fn certificates_of_a_named_authority_are_checked_as_usual() {
    let authority_params = params("Authority", true);
    let authority = self_signed(&authority_params);
    let issuer = Issuer::new(authority_params, &authority.key);
    let issue = |params: &CertificateParams| {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Made { certificate, key }
    };
    let named = authority.certificate.pem();
    let good = issue(&params("localhost", false));
    assert_eq!(request(serve(&good).await, &named).await, Ok(200));
    // An authority below the named one was not named itself.
    let below = issue(&params("localhost", true));
    assert!(request(serve(&below).await, &named).await.is_err());
    let mut early = params("localhost", false);
    early.not_before = date_time_ymd(2100, 1, 1);
    early.not_after = date_time_ymd(2101, 1, 1);
    let refused = request(serve(&issue(&early)).await, &named).await;
    insta::assert_snapshot!(refused.unwrap_err(), @"TLS: the server's certificate is not valid yet: correct the clock of this machine");
}

#[tokio::test]
async fn a_server_without_tls_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let named = self_signed(&params("localhost", true)).certificate.pem();
    insta::assert_snapshot!(request(port, &named).await.unwrap_err(), @"TLS: the server does not speak TLS: check the address and the port");
}
