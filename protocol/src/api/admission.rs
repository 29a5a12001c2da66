//! Admission: the header with which an agent asks the function to process its request.

use std::str::FromStr;

use super::Secret;

/// Name of the header that admits a request. The signature of the request covers the header.
pub const ADMISSION: &str = "packcast-admission";

/// The secret that admits a request; in the header, `pass <secret>` or `token <secret>`.
///
/// The function checks the header before it reads anything else of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The function's proof of this device's enrolment.
    Pass(Secret),
    /// An enrolment token of the target. A device sends it until it has received a pass.
    Token(Secret),
}

/// Text that is not an admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an admission is 'pass' or 'token', a blank and a secret")]
pub struct AdmissionError;

impl Admission {
    /// Returns the value of the header, with the secret.
    pub fn to_header(&self) -> String {
        match self {
            Self::Pass(secret) => format!("pass {}", secret.reveal()),
            Self::Token(secret) => format!("token {}", secret.reveal()),
        }
    }
}

impl FromStr for Admission {
    type Err = AdmissionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, secret) = text.split_once(' ').ok_or(AdmissionError)?;
        let secret = secret.parse().map_err(|_| AdmissionError)?;
        match kind {
            "pass" => Ok(Self::Pass(secret)),
            "token" => Ok(Self::Token(secret)),
            _ => Err(AdmissionError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admission_is_read_as_it_is_written() {
        let secret: Secret = "0123456789abcdef".parse().unwrap();
        for (admission, header) in [
            (Admission::Pass(secret.clone()), "pass 0123456789abcdef"),
            (Admission::Token(secret), "token 0123456789abcdef"),
        ] {
            assert_eq!(admission.to_header(), header);
            assert_eq!(header.parse(), Ok(admission));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let long = format!("pass {}", "x".repeat(129));
        for text in [
            "",
            "pass",
            "pass ",
            "0123456789abcdef",
            "Pass 0123456789abcdef",
            "basic 0123456789abcdef",
            "pass  0123456789abcdef",
            "pass 0123456789abcdef ",
            "pass 0123456789abcdef, pass 0123456789abcdef",
            "token 0123456789abcde\u{e9}",
            &long,
        ] {
            assert_eq!(text.parse::<Admission>(), Err(AdmissionError), "{text}");
        }
    }

    #[test]
    fn error_messages() {
        insta::assert_snapshot!(AdmissionError, @"an admission is 'pass' or 'token', a blank and a secret");
    }
}
