//! The address of the check-in function.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use packcast_https::Route;
use reqwest::Url;
use serde::Deserialize;

/// The check-in function's address: `https://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Server(Url);

/// An error from reading the address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not the address of a server: write https://host or https://host:port")]
pub(crate) struct ServerError {
    given: String,
}

impl Server {
    /// Returns the route of requests to the server and to the locations.
    pub(crate) fn route(&self) -> Route {
        let address = self.0.host_str().map(|host| host.trim_matches(['[', ']']));
        let loopback = address.is_some_and(|host| {
            host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        });
        if loopback {
            Route::Loopback
        } else {
            Route::Proxies
        }
    }

    /// Returns host and port.
    pub(crate) fn peer(&self) -> Option<(String, u16)> {
        let host = self.0.host_str()?.trim_matches(['[', ']']);
        Some((host.to_owned(), self.0.port_or_known_default()?))
    }

    /// Returns the URL of a path of the API.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(path);
        url
    }
}

impl fmt::Display for Server {
    /// Writes the address without a path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for Server {
    type Error = ServerError;

    fn try_from(text: String) -> Result<Self, ServerError> {
        let plain = |url: &Url| {
            url.scheme() == "https"
                && url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        };
        let url = Url::parse(&text).ok().filter(plain);
        url.map(Self).ok_or(ServerError { given: text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_to_this_machine_use_no_proxy() {
        let route = |text: &str| Server::try_from(text.to_owned()).unwrap().route();
        for here in [
            "https://127.0.0.1:8443",
            "https://localhost",
            "https://[::1]:1",
        ] {
            assert_eq!(route(here), Route::Loopback, "{here}");
        }
        for there in [
            "https://ocs.example",
            "https://192.0.2.1",
            "https://127.example",
        ] {
            assert_eq!(route(there), Route::Proxies, "{there}");
        }
    }

    #[test]
    fn a_peer_is_host_and_port() {
        let peer = |text: &str| Server::try_from(text.to_owned()).unwrap().peer().unwrap();
        assert_eq!(peer("https://ocs.example"), ("ocs.example".to_owned(), 443));
        assert_eq!(peer("https://[::1]:8443"), ("::1".to_owned(), 8443));
    }

    #[test]
    fn messages_show_the_form_of_an_address() {
        let text = Server::try_from("http://ocs.example".to_owned())
            .unwrap_err()
            .to_string();
        insta::assert_snapshot!(text, @r#"
        "http://ocs.example" is not the address of a server: write https://host or https://host:port
        "#);
    }
}
