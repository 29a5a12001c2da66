//! A certificate authority that only the agents of this machine trust.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_protocol::UnixTime;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{self, CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use crate::private;

/// The names under which clients reach an edge.
const NAMES: [&str; 3] = ["127.0.0.1", "localhost", "::1"];
const DAY_S: u64 = 24 * 3600;
const AUTHORITY_DAYS: u64 = 3653;
const SERVER_DAYS: u64 = 365;

/// A certificate authority that is valid for the loopback names of this machine only.
///
/// Even an attacker with its key cannot impersonate another host to clients that trust it (name
/// constraints, RFC 5280 §4.2.1.10).
pub struct LocalAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    certificate_path: PathBuf,
}

/// The certificate and key that an edge proves its name with. The key exists in memory only.
pub struct ServerIdentity {
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
}

/// Errors from loading or creating an authority, and from issuing a certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("cannot read {} of the certificate authority", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {} of the certificate authority", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read private key {}: expected PEM", path.display())]
    Key { path: PathBuf, source: rcgen::Error },
    #[error("cannot read certificate {}: expected PEM", path.display())]
    Certificate {
        path: PathBuf,
        source: pki_types::pem::Error,
    },
    #[error("cannot create a certificate")]
    Generate(#[from] rcgen::Error),
    #[error(
        "certificate authority {} does not match its key: restore both files, or remove it, start again and configure the new one on the agents",
        path.display()
    )]
    Unusable {
        path: PathBuf,
        source: rustls::Error,
    },
}

impl LocalAuthority {
    /// Reads the authority in a directory, or creates one that is valid for ten years.
    ///
    /// Agents are configured with `ca.pem`; `ca-key.pem` has mode 0600. An existing authority that
    /// is unusable is an error, because agents already trust it. After ten years agents on OpenSSL
    /// refuse the authority; removing `ca.pem` creates a new one at the next start.
    pub fn load_or_create(directory: &Path, now: UnixTime) -> Result<Self, AuthorityError> {
        let certificate_path = directory.join("ca.pem");
        let key_path = directory.join("ca-key.pem");
        if !certificate_path.exists() {
            create(&certificate_path, &key_path, now)?;
        }
        let read = |path: &Path| {
            fs::read(path).map_err(|source| AuthorityError::Read {
                path: path.to_owned(),
                source,
            })
        };
        let key_pem = read(&key_path)?;
        let key = KeyPair::from_pem(&String::from_utf8_lossy(&key_pem)).map_err(|source| {
            AuthorityError::Key {
                path: key_path,
                source,
            }
        })?;
        let certificate =
            CertificateDer::from_pem_slice(&read(&certificate_path)?).map_err(|source| {
                AuthorityError::Certificate {
                    path: certificate_path.clone(),
                    source,
                }
            })?;
        Ok(Self {
            issuer: Issuer::new(authority_params(now), key),
            certificate,
            certificate_path,
        })
    }

    /// Returns the file with the certificate that agents and tools are configured to trust.
    pub fn ca_pem_path(&self) -> &Path {
        &self.certificate_path
    }

    /// Issues a certificate for 127.0.0.1, `localhost` and `::1`, valid for a year, and its key.
    pub fn issue_server_identity(&self, now: UnixTime) -> Result<ServerIdentity, AuthorityError> {
        let key = KeyPair::generate()?;
        let certificate = server_params(now)?.signed_by(&key, &self.issuer)?;
        let certificate = certificate.der().clone();
        // A key that was swapped on disk shows here, and not at the first agent.
        self.check(&certificate, now)
            .map_err(|source| AuthorityError::Unusable {
                path: self.certificate_path.clone(),
                source,
            })?;
        Ok(ServerIdentity {
            certificate,
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }

    /// Verifies a certificate as an agent would.
    fn check(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let at = pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.0));
        for name in NAMES {
            let name = name.try_into().expect("each is a name or an address");
            verifier.verify_server_cert(certificate, &[], &name, &[], at)?;
        }
        Ok(())
    }
}

/// Creates an authority. The key is written first: without a certificate no agent trusts it yet.
fn create(certificate: &Path, key: &Path, now: UnixTime) -> Result<(), AuthorityError> {
    let pair = KeyPair::generate()?;
    let made = authority_params(now).self_signed(&pair)?;
    let write = |path: &Path, text: String| {
        private::replace(path, text.as_bytes()).map_err(|source| AuthorityError::Write {
            path: path.to_owned(),
            source,
        })
    };
    write(key, pair.serialize_pem())?;
    write(certificate, made.pem())
}

/// Returns the parameters of an authority.
///
/// The name must not change: it links certificates to the authorities of earlier starts.
fn authority_params(now: UnixTime) -> CertificateParams {
    let mut params = valid(now, AUTHORITY_DAYS);
    name(&mut params, "Packcast local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::V4([127, 0, 0, 0], [255, 0, 0, 0])),
            GeneralSubtree::IpAddress(CidrSubnet::V6(
                std::net::Ipv6Addr::LOCALHOST.octets(),
                [0xff; 16],
            )),
        ],
        excluded_subtrees: Vec::new(),
    });
    params
}

fn server_params(now: UnixTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = valid(now, SERVER_DAYS);
    name(&mut params, "Packcast local edge");
    params.subject_alt_names = CertificateParams::new(NAMES.map(str::to_owned))?.subject_alt_names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Returns parameters that are valid from yesterday on, because clocks differ.
fn valid(now: UnixTime, days: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date(UnixTime(now.0.saturating_sub(DAY_S)));
    params.not_after = date(now.plus(days * DAY_S));
    params
}

/// Returns the date of a time.
///
/// A time after the year 9999 becomes 1970, and the certificate then fails its check.
fn date(time: UnixTime) -> OffsetDateTime {
    i64::try_from(time.0)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn name(params: &mut CertificateParams, common_name: &str) {
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
}

impl std::fmt::Debug for LocalAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalAuthority")
            .field("certificate_path", &self.certificate_path)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerIdentity").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_900_000_000);

    #[test]
    fn an_authority_is_created_once() {
        let directory = tempfile::tempdir().unwrap();
        let first = LocalAuthority::load_or_create(directory.path(), NOW).unwrap();
        let again = LocalAuthority::load_or_create(directory.path(), NOW.plus(DAY_S)).unwrap();
        assert_eq!(first.certificate, again.certificate);
        again.issue_server_identity(NOW.plus(DAY_S)).unwrap();
    }

    #[test]
    fn the_key_of_another_authority_is_refused() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        LocalAuthority::load_or_create(one.path(), NOW).unwrap();
        LocalAuthority::load_or_create(other.path(), NOW).unwrap();
        fs::copy(
            other.path().join("ca-key.pem"),
            one.path().join("ca-key.pem"),
        )
        .unwrap();
        let authority = LocalAuthority::load_or_create(one.path(), NOW).unwrap();
        let error = authority.issue_server_identity(NOW).unwrap_err();
        assert!(matches!(error, AuthorityError::Unusable { .. }), "{error}");
    }

    #[test]
    fn no_certificate_is_valid_for_another_host() {
        let directory = tempfile::tempdir().unwrap();
        let authority = LocalAuthority::load_or_create(directory.path(), NOW).unwrap();
        let mut params = server_params(NOW).unwrap();
        let others = CertificateParams::new(["updates.example.net".to_owned()]).unwrap();
        params.subject_alt_names.extend(others.subject_alt_names);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority.issuer).unwrap();
        assert!(authority.check(certificate.der(), NOW).is_err());
    }

    #[test]
    fn an_error_names_a_missing_key() {
        let directory = tempfile::tempdir().unwrap();
        LocalAuthority::load_or_create(directory.path(), NOW).unwrap();
        fs::remove_file(directory.path().join("ca-key.pem")).unwrap();
        let error = LocalAuthority::load_or_create(directory.path(), NOW).unwrap_err();
        assert!(error.to_string().contains("ca-key.pem"), "{error}");
    }

    #[test]
    fn each_error_has_a_message() {
        let path = || PathBuf::from("state/ca.pem");
        let errors = [
            AuthorityError::Read {
                path: path(),
                source: io::ErrorKind::PermissionDenied.into(),
            },
            AuthorityError::Write {
                path: path(),
                source: io::ErrorKind::StorageFull.into(),
            },
            AuthorityError::Key {
                path: path(),
                source: rcgen::Error::CouldNotParseKeyPair,
            },
            AuthorityError::Certificate {
                path: path(),
                source: pki_types::pem::Error::NoItemsFound,
            },
            AuthorityError::Generate(rcgen::Error::RingUnspecified),
            AuthorityError::Unusable {
                path: path(),
                source: rustls::Error::General("unknown issuer".to_owned()),
            },
        ];
        let messages = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(messages, @r"
        cannot read state/ca.pem of the certificate authority
        cannot write state/ca.pem of the certificate authority
        cannot read private key state/ca.pem: expected PEM
        cannot read certificate state/ca.pem: expected PEM
        cannot create a certificate
        certificate authority state/ca.pem does not match its key: restore both files, or remove it, start again and configure the new one on the agents
        ");
    }
}
