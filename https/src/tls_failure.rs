//! Failures of TLS, in words for an administrator.

use std::error::Error;

use rustls::{AlertDescription, CertificateError};

/// The reason why a server could not prove its name.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TlsFailure {
    #[error(
        "the server shows the certificate of a certificate authority, as most self-signed certificates are: if this is your server, set ca_file to a file with this certificate"
    )]
    Authority,
    #[error(
        "the server's certificate is self-signed, or its issuer is not trusted: if this is your server, set ca_file to the certificate of the issuer"
    )]
    UnknownIssuer,
    #[error(
        "the server's certificate does not match the certificate of the same name in ca_file: if the server has a new certificate, replace the one in ca_file"
    )]
    Replaced,
    #[error("the server's certificate has expired: renew it, or correct the clock of this machine")]
    Expired,
    #[error("the server's certificate is not valid yet: correct the clock of this machine")]
    NotYetValid,
    #[error(
        "the server's certificate is for {presented}, not for {expected}: correct the address, or get a certificate for this name"
    )]
    WrongName { expected: String, presented: String },
    #[error(
        "the server's certificate does not have the name in the address: correct the address, or get a certificate for this name"
    )]
    OtherName,
    #[error("the server's certificate was revoked: get a new one")]
    Revoked,
    #[error("the server's certificate is not for servers: get one for server authentication")]
    NotForServers,
    #[error("the server does not speak TLS: check the address and the port")]
    NotTls,
    #[error("the server speaks neither TLS 1.2 nor TLS 1.3")]
    OldTls,
    #[error("{0}")]
    Other(rustls::Error),
}

impl TlsFailure {
    pub(crate) fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(certificate) => {
                Self::of_certificate(certificate).unwrap_or_else(|| Self::Other(error.clone()))
            }
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::PeerIncompatible(_)
            | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => Self::OldTls,
            _ => Self::Other(error.clone()),
        }
    }

    fn of_certificate(error: &CertificateError) -> Option<Self> {
        Some(match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::BadSignature => Self::Replaced,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::NotForServers
            }
            CertificateError::NotValidForName => Self::OtherName,
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => Self::WrongName {
                expected: expected.to_str().into_owned(),
                presented: names(presented),
            },
            _ if is_authority(error) => Self::Authority,
            _ => return None,
        })
    }
}

/// Returns true if a server has shown the certificate of an authority.
pub(crate) fn is_authority(error: &CertificateError) -> bool {
    let CertificateError::Other(other) = error else {
        return false;
    };
    let cause: &(dyn Error + 'static) = other.0.as_ref();
    matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Writes the names in a certificate, such as `DnsName("example.net")`, for people.
fn names(presented: &[String]) -> String {
    let within = |name: &String| {
        let (_, rest) = name.split_once('(')?;
        Some(rest.trim_end_matches(')').trim_matches('"').to_owned())
    };
    let shown = presented.iter().take(3);
    let names = shown.map(|name| within(name).unwrap_or_else(|| name.clone()));
    let names = names.collect::<Vec<_>>().join(", ");
    match presented.len() {
        0 => "no name".to_owned(),
        1..=3 => names,
        _ => format!("{names} and others"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;
    use rustls::{InvalidMessage, OtherError};

    use super::*;

    #[test]
    fn each_failure_of_an_administrator_has_words() {
        let certificate = |error| TlsFailure::of(&rustls::Error::InvalidCertificate(error));
        let authority = OtherError(Arc::new(webpki::Error::CaUsedAsEndEntity));
        let name = |presented: &[&str]| CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("ocs.example.net").unwrap(),
            presented: presented.iter().map(ToString::to_string).collect(),
        };
        let dns = "DnsName(\"old.example.net\")";
        let failures = [
            certificate(CertificateError::Other(authority)),
            certificate(CertificateError::UnknownIssuer),
            certificate(CertificateError::BadSignature),
            certificate(CertificateError::Expired),
            certificate(CertificateError::NotValidYet),
            certificate(name(&[dns])),
            certificate(name(&[])),
            certificate(name(&[dns, dns, "IpAddress(10.0.0.1)", dns])),
            certificate(CertificateError::NotValidForName),
            certificate(CertificateError::Revoked),
            certificate(CertificateError::InvalidPurpose),
            certificate(CertificateError::BadEncoding),
            TlsFailure::of(&InvalidMessage::InvalidContentType.into()),
            TlsFailure::of(&rustls::Error::AlertReceived(
                AlertDescription::ProtocolVersion,
            )),
        ];
        let text = failures.map(|failure| failure.to_string()).join("\n");
        insta::assert_snapshot!(text, @"
        the server shows the certificate of a certificate authority, as most self-signed certificates are: if this is your server, set ca_file to a file with this certificate
        the server's certificate is self-signed, or its issuer is not trusted: if this is your server, set ca_file to the certificate of the issuer
        the server's certificate does not match the certificate of the same name in ca_file: if the server has a new certificate, replace the one in ca_file
        the server's certificate has expired: renew it, or correct the clock of this machine
        the server's certificate is not valid yet: correct the clock of this machine
        the server's certificate is for old.example.net, not for ocs.example.net: correct the address, or get a certificate for this name
        the server's certificate is for no name, not for ocs.example.net: correct the address, or get a certificate for this name
        the server's certificate is for old.example.net, old.example.net, 10.0.0.1 and others, not for ocs.example.net: correct the address, or get a certificate for this name
        the server's certificate does not have the name in the address: correct the address, or get a certificate for this name
        the server's certificate was revoked: get a new one
        the server's certificate is not for servers: get one for server authentication
        invalid peer certificate: BadEncoding
        the server does not speak TLS: check the address and the port
        the server speaks neither TLS 1.2 nor TLS 1.3
        ");
    }
}
