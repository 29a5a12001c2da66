//! The address of a database, and the protection of the connection.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use mysql_async::{Opts, OptsBuilder, SslOpts};

/// The address of a database: `mysql://user@host/ocsweb`, with `?socket=/path` for a socket.
#[derive(Clone, Debug)]
pub struct DatabaseAddress(Opts);

/// The password of the database user.
#[derive(Clone)]
pub struct Password(pub String);

/// The protection of a connection over a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// TLS is required for other machines, and verified with the usual certificate authorities.
    Required,
    /// TLS is required, and verified with the certificate authorities in this file.
    Authority(PathBuf),
    /// The connection is not encrypted.
    Off,
}

/// Errors in the address of a database.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    #[error("cannot read the address of the database: expected mysql://USER@HOST/DATABASE")]
    Form(#[source] mysql_async::UrlError),
    #[error("cannot read the address of the database: expected mysql://USER@HOST/DATABASE")]
    Missing,
    #[error(
        "cannot use a password in the address of the database: others can see the arguments of commands; pass --password-file, or set PACKCAST_OCS_PASSWORD"
    )]
    Password,
}

impl FromStr for DatabaseAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let opts = Opts::from_url(text).map_err(AddressError::Form)?;
        if opts.pass().is_some_and(|password| !password.is_empty()) {
            return Err(AddressError::Password);
        }
        if opts.user().is_none() || opts.db_name().is_none() {
            return Err(AddressError::Missing);
        }
        Ok(Self(opts))
    }
}

impl DatabaseAddress {
    /// Returns the host, or the path of the socket.
    pub fn place(&self) -> String {
        match self.0.socket() {
            Some(socket) => socket.to_owned(),
            None => format!("{}:{}", self.0.ip_or_hostname(), self.0.tcp_port()),
        }
    }

    pub fn user(&self) -> &str {
        self.0.user().unwrap_or_default()
    }

    pub fn database(&self) -> &str {
        self.0.db_name().unwrap_or_default()
    }

    pub(crate) fn options(&self, password: &Password, tls: &Tls) -> OptsBuilder {
        let is_local = self.0.socket().is_some() || is_loopback(self.0.ip_or_hostname());
        let options = match tls {
            Tls::Off => None,
            Tls::Required if is_local => None,
            Tls::Required => Some(SslOpts::default()),
            Tls::Authority(file) => {
                let authorities = vec![file.clone().into()];
                let options = SslOpts::default().with_root_certs(authorities);
                Some(options.with_disable_built_in_roots(true))
            }
        };
        OptsBuilder::from_opts(self.0.clone())
            .pass(Some(password.0.as_str()))
            // Otherwise the client would leave a loopback address for a socket that the server names.
            .prefer_socket(false)
            .ssl_opts(options)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_user_place_and_database() {
        let parsed = |text: &str| {
            let address: DatabaseAddress = text.parse().unwrap();
            let (user, database) = (address.user(), address.database());
            format!("{user} {} {database}", address.place())
        };
        let addresses = [
            "mysql://ocs@db.example.net/ocsweb",
            "mysql://ocs@127.0.0.1:3307/ocsweb",
            "mysql://root@localhost/ocsweb?socket=/run/mysqld/mysqld.sock",
        ];
        insta::assert_snapshot!(addresses.map(parsed).join("\n"), @"
        ocs db.example.net:3306 ocsweb
        ocs 127.0.0.1:3307 ocsweb
        root /run/mysqld/mysqld.sock ocsweb
        ");
    }

    #[test]
    fn wrong_addresses_are_refused() {
        let addresses = [
            "ocsweb",
            "mysql://db.example.net/ocsweb",
            "mysql://ocs@db.example.net",
            "mysql://ocs:secret@db.example.net/ocsweb",
        ];
        let errors = addresses.map(|text| text.parse::<DatabaseAddress>().unwrap_err().to_string());
        insta::assert_snapshot!(errors.join("\n"), @"
        cannot read the address of the database: expected mysql://USER@HOST/DATABASE
        cannot read the address of the database: expected mysql://USER@HOST/DATABASE
        cannot read the address of the database: expected mysql://USER@HOST/DATABASE
        cannot use a password in the address of the database: others can see the arguments of commands; pass --password-file, or set PACKCAST_OCS_PASSWORD
        ");
    }

    #[test]
    fn connections_to_other_machines_need_tls() {
        let has_tls = |text: &str, tls: &Tls| {
            let address: DatabaseAddress = text.parse().unwrap();
            let options = address.options(&Password(String::new()), tls);
            mysql_async::Opts::from(options).ssl_opts().is_some()
        };
        let authority = Tls::Authority("ca.pem".into());
        let cases = [
            ("mysql://ocs@db.example.net/ocsweb", &Tls::Required, true),
            ("mysql://ocs@db.example.net/ocsweb", &Tls::Off, false),
            ("mysql://ocs@127.0.0.1/ocsweb", &Tls::Required, false),
            ("mysql://ocs@127.0.0.1/ocsweb", &authority, true),
        ];
        for (address, tls, expected) in cases {
            assert_eq!(has_tls(address, tls), expected, "{address} {tls:?}");
        }
    }

    #[test]
    fn debug_output_of_a_password_has_no_secret() {
        assert_eq!(format!("{:?}", Password("secret".to_owned())), "Password");
    }
}
