//! Requests of OCS agents (protocol reference §2.1, §3, §5.5).

mod fields;

use crate::device::{DeviceIdError, OcsDeviceId};
use crate::package::PackageId;
use crate::result::{NamedCode, ResultCode};

use fields::Fields;

/// A request of an OCS agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcsRequest {
    /// The device that sends the request.
    pub device: OcsDeviceId,
    /// The purpose of the request.
    pub query: Query,
}

/// The purpose of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The device asks for its packages.
    Prolog,
    /// The device reports the result of a deployment.
    Download {
        /// The package; `None` if the text cannot be an id of Packcast.
        package: Option<PackageId>,
        /// The result.
        code: ResultCode,
    },
    /// The device describes itself.
    Inventory(Inventory),
    /// Any other query, such as `NOTIFY` or `SNMP`, by its name of at most 64 bytes.
    Other(String),
}

/// The part of an inventory that deployment needs; texts have at most 255 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Packages in the device's history, sorted and without repetition.
    ///
    /// The list has at most [`Inventory::MAX_HISTORY`] packages. From a longer history, it
    /// keeps the newest ones: ids grow with time, and old packages are the least likely to be
    /// assigned.
    pub history: Vec<PackageId>,
    /// Host name of the device.
    pub host_name: Option<String>,
    /// Name of the operating system.
    pub os_name: Option<String>,
}

impl Inventory {
    pub const MAX_HISTORY: usize = 10_000;
}

/// Errors from parsing a request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("the request is not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
    #[error("the request is not well-formed XML")]
    Malformed(#[source] quick_xml::Error),
    #[error("the request has a DOCTYPE, which is never accepted")]
    Doctype,
    #[error("the request uses the entity {name:?}, which XML does not define")]
    Entity { name: String },
    #[error("the request nests elements more than {} deep", fields::MAX_DEPTH)]
    Deep,
    #[error(
        "the request has an element with more than {} attributes",
        fields::MAX_ATTRIBUTES
    )]
    ManyAttributes,
    #[error("the request must be one REQUEST element")]
    Root,
    #[error("the request ends inside an element")]
    Unfinished,
    #[error("the request gives {field} twice")]
    Repeated { field: &'static str },
    #[error("the request has no DEVICEID")]
    NoDevice,
    #[error("the request's DEVICEID is invalid")]
    Device(#[source] DeviceIdError),
    #[error("the request has no QUERY")]
    NoQuery,
}

impl OcsRequest {
    /// Parses the content of an opened envelope.
    ///
    /// Fields may be attributes or child elements, in any order; unused fields are ignored.
    pub fn parse(xml: &[u8]) -> Result<Self, RequestError> {
        let xml = std::str::from_utf8(xml).map_err(RequestError::NotUtf8)?;
        let mut fields = Fields::read(xml)?;
        let device = fields
            .device
            .take()
            .or(fields.content_device.take())
            .ok_or(RequestError::NoDevice)?;
        let device = device.parse().map_err(RequestError::Device)?;
        let name = fields
            .query
            .take()
            .filter(|query| !query.is_empty())
            .ok_or(RequestError::NoQuery)?;
        Ok(Self {
            device,
            query: query(&name, fields),
        })
    }
}

fn query(name: &str, fields: Fields) -> Query {
    match name {
        "PROLOG" => Query::Prolog,
        "DOWNLOAD" => Query::Download {
            package: fields.package.and_then(|id| id.parse().ok()),
            code: result_code(&fields.code.unwrap_or_default()),
        },
        "INVENTORY" => Query::Inventory(Inventory {
            history: fields.history.into_iter().collect(),
            host_name: fields.host_name,
            os_name: fields.os_name,
        }),
        other => Query::Other(fields::plain(other, 64)),
    }
}

/// Parses any value of `ERR`; an empty value means `UNKNOWN_CODE`, as on the OCS server.
fn result_code(text: &str) -> ResultCode {
    fields::plain(text, 255)
        .parse()
        .unwrap_or(NamedCode::UnknownCode.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::causes::messages;

    /// Traps of OCS agents (protocol reference) and the tests that guard against them.
    const _: &[(&str, fn())] = &[(
        "§0.4: fields are attributes or elements, in any order",
        attributes_and_elements_are_equivalent,
    )];

    const DEVICE: &str = "PC42-2026-03-04-05-06-07";

    fn parse(body: &str) -> Result<OcsRequest, RequestError> {
        OcsRequest::parse(body.as_bytes())
    }

    fn query_of(body: &str) -> Query {
        parse(body).unwrap().query
    }

    fn code_of(err: &str) -> ResultCode {
        match query_of(&format!(
            "<REQUEST DEVICEID=\"{DEVICE}\" QUERY=\"DOWNLOAD\" ID=\"1770000001\" {err}/>"
        )) {
            Query::Download { code, .. } => code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn attributes_and_elements_are_equivalent() {
        let expected = query_of(&format!(
            r#"<REQUEST DEVICEID="{DEVICE}" ERR="SUCCESS_3" ID="1770000001" QUERY="DOWNLOAD"/>"#
        ));
        let package = "1770000001".parse().ok();
        assert_eq!(
            expected,
            Query::Download {
                package,
                code: ResultCode::Exited(3)
            }
        );
        for body in [
            format!(
                r#"<REQUEST ID="1770000001" ERR="SUCCESS_3"><DEVICEID>{DEVICE}</DEVICEID><CONTENT/><QUERY>DOWNLOAD</QUERY></REQUEST>"#
            ),
            format!(
                "<REQUEST><QUERY> DOWNLOAD\n</QUERY><ERR><![CDATA[SUCCESS_3]]></ERR><ID>17700&#48;0001</ID><DEVICEID>{DEVICE}</DEVICEID></REQUEST>"
            ),
            format!(
                "\u{FEFF}<?xml version='1.0'?><!-- c --><REQUEST QUERY='DOWNLOAD' ID='1770000001' ERR='SUCCESS_3'><CONTENT><DEVICEID>{DEVICE}</DEVICEID></CONTENT></REQUEST>\n"
            ),
        ] {
            let request = parse(&body).unwrap();
            assert_eq!(request.device.as_str(), DEVICE, "{body}");
            assert_eq!(request.query, expected, "{body}");
        }
    }

    #[test]
    fn the_deviceid_at_the_top_precedes_the_one_in_content() {
        let body = format!(
            "<REQUEST><CONTENT><DEVICEID>x</DEVICEID></CONTENT><DEVICEID>{DEVICE}</DEVICEID><QUERY>PROLOG</QUERY></REQUEST>"
        );
        assert_eq!(parse(&body).unwrap().device.as_str(), DEVICE);
    }

    #[test]
    fn any_result_code_is_accepted_and_bounded() {
        assert_eq!(code_of(""), NamedCode::UnknownCode.into());
        assert_eq!(code_of("ERR=' '"), NamedCode::UnknownCode.into());
        assert_eq!(
            code_of("ERR='WHAT'"),
            ResultCode::Unknown("WHAT".to_owned())
        );
        assert_eq!(
            code_of("ERR='A&#7;B'"),
            ResultCode::Unknown("A\u{FFFD}B".to_owned())
        );
        assert_eq!(
            code_of(&format!("ERR='x{}'", "é".repeat(5000))),
            ResultCode::Unknown(format!("x{}", "é".repeat(127)))
        );
    }

    #[test]
    fn a_report_on_an_unknown_package_is_still_a_report() {
        for id in ["", "abc", "999", "99999999999999999999"] {
            let body = format!(
                r#"<REQUEST DEVICEID="{DEVICE}" ID="{id}" ERR="SUCCESS" QUERY="DOWNLOAD"/>"#
            );
            assert_eq!(
                query_of(&body),
                Query::Download {
                    package: None,
                    code: ResultCode::Success
                }
            );
        }
    }

    #[test]
    fn other_queries_keep_their_names() {
        let body = format!(
            "<REQUEST><DEVICEID>{DEVICE}</DEVICEID><QUERY>NOTIFY</QUERY><TYPE>IP</TYPE></REQUEST>"
        );
        assert_eq!(query_of(&body), Query::Other("NOTIFY".to_owned()));
    }

    #[test]
    fn the_history_is_sorted_unique_and_bounded() {
        let package = |n| format!("<PACKAGE ID=\"{}\"/>", 1_000_000_000 + n);
        let packages: Vec<String> = (0..=Inventory::MAX_HISTORY).rev().map(package).collect();
        let packages = packages.concat();
        let content = format!(
            "<DOWNLOAD><HISTORY>{packages}<PACKAGE ID=\"1000000005\"/><PACKAGE ID=\"x\"/><PACKAGE><ID>2000000000</ID></PACKAGE></HISTORY></DOWNLOAD>"
        );
        let Query::Inventory(inventory) = query_of(&inventory_of(&content)) else {
            panic!("no inventory")
        };
        assert_eq!(inventory.history.len(), Inventory::MAX_HISTORY);
        assert!(inventory.history.is_sorted_by(|a, b| a < b));
        assert_eq!(inventory.history[0].get(), 1_000_000_002);
        assert_eq!(inventory.history.last().unwrap().get(), 2_000_000_000);
    }

    fn inventory_of(content: &str) -> String {
        format!(
            "<REQUEST><CONTENT>{content}</CONTENT><DEVICEID>{DEVICE}</DEVICEID><QUERY>INVENTORY</QUERY></REQUEST>"
        )
    }

    #[test]
    fn an_inventory_names_host_and_system() {
        let described = |content: &str| {
            let Query::Inventory(inventory) = query_of(&inventory_of(content)) else {
                panic!("no inventory")
            };
            (inventory.host_name, inventory.os_name)
        };
        let hardware = "<HARDWARE><NAME>zürich&amp;01</NAME><OSNAME> Debian\n12 </OSNAME></HARDWARE><STORAGES><NAME>sda</NAME></STORAGES>";
        assert_eq!(
            described(hardware),
            (
                Some("zürich&01".to_owned()),
                Some("Debian\u{FFFD}12".to_owned())
            )
        );
        assert_eq!(
            described("<HARDWARE NAME='web01'/>"),
            (Some("web01".to_owned()), None)
        );
        assert_eq!(
            described("<HARDWARE><NAME> </NAME></HARDWARE>"),
            (None, None)
        );
        assert_eq!(described(""), (None, None));
    }

    #[test]
    fn invalid_requests_are_refused() {
        macro_rules! check {
            ($body:expr, $error:pat) => {
                let body = $body;
                let result = parse(&body);
                assert!(matches!(result, Err($error)), "{body:.200} gave {result:?}");
            };
        }
        let fields = format!("DEVICEID='{DEVICE}' QUERY='PROLOG'");
        check!(
            format!("<!DOCTYPE REQUEST [<!ENTITY a 'b'>]><REQUEST {fields}/>"),
            RequestError::Doctype
        );
        check!(
            format!("<REQUEST {fields}>&a;</REQUEST>"),
            RequestError::Entity { .. }
        );
        check!(
            format!("<REQUEST {fields}>a & b</REQUEST>"),
            RequestError::Malformed(_)
        );
        check!(
            format!("<REQUEST {fields}><A></B></REQUEST>"),
            RequestError::Malformed(_)
        );
        check!(
            format!("<REQUEST {fields} QUERY='PROLOG'/>"),
            RequestError::Malformed(_)
        );
        check!(format!("<REQUEST {fields}><A>"), RequestError::Unfinished);
        check!(format!("<REQUEST {fields}/><REQUEST/>"), RequestError::Root);
        check!(format!("<REQUEST {fields}/>text"), RequestError::Root);
        check!(format!("text<REQUEST {fields}/>"), RequestError::Root);
        check!(format!("<REPLY {fields}/>"), RequestError::Root);
        check!(String::new(), RequestError::Root);
        check!(
            format!("<REQUEST {fields}><QUERY>DOWNLOAD</QUERY></REQUEST>"),
            RequestError::Repeated { field: "QUERY" }
        );
        check!(
            "<REQUEST QUERY='PROLOG'/>".to_owned(),
            RequestError::NoDevice
        );
        check!(
            "<REQUEST QUERY='PROLOG' DEVICEID='key:abc'/>".to_owned(),
            RequestError::Device(_)
        );
        check!(
            format!(
                "<REQUEST DEVICEID='{}{DEVICE}' QUERY='PROLOG'/>",
                "x".repeat(1 << 20)
            ),
            RequestError::Device(_)
        );
        check!(
            format!("<REQUEST DEVICEID='{DEVICE}'/>"),
            RequestError::NoQuery
        );
        check!(
            format!("<REQUEST DEVICEID='{DEVICE}' QUERY=''/>"),
            RequestError::NoQuery
        );
        check!(
            format!("<REQUEST {fields}>{}", "<A>".repeat(100_000)),
            RequestError::Deep
        );
        let attributes: Vec<String> = (0..1000).map(|n| format!(" a{n}=''")).collect();
        let attributes = attributes.concat();
        check!(
            format!("<REQUEST {fields}><A{attributes}/></REQUEST>"),
            RequestError::ManyAttributes
        );
        assert!(matches!(
            OcsRequest::parse(b"<REQUEST \xFF/>"),
            Err(RequestError::NotUtf8(_))
        ));
    }

    #[test]
    fn error_messages() {
        let error = |xml: &str| parse(xml).unwrap_err();
        let attributes: String = (0..300).map(|n| format!(" a{n}=''")).collect();
        insta::assert_snapshot!(messages([
            OcsRequest::parse(b"\xFF").unwrap_err(),
            error("<REQUEST>&</REQUEST>"),
            error("<!DOCTYPE REQUEST><REQUEST/>"),
            error("<REQUEST>&a;</REQUEST>"),
            error(&"<REQUEST>".repeat(100)),
            error(&format!("<REQUEST{attributes}/>")),
            error("<REPLY/>"),
            error("<REQUEST>"),
            error("<REQUEST QUERY='PROLOG'><QUERY>PROLOG</QUERY></REQUEST>"),
            error("<REQUEST QUERY='PROLOG'/>"),
            error("<REQUEST DEVICEID='web01' QUERY='PROLOG'/>"),
            error(&format!("<REQUEST DEVICEID='{DEVICE}'/>")),
        ]), @r#"
        the request is not UTF-8: invalid utf-8 sequence of 1 bytes from index 0
        the request is not well-formed XML: ill-formed document: entity or character reference not closed: `;` not found before end of input
        the request has a DOCTYPE, which is never accepted
        the request uses the entity "a", which XML does not define
        the request nests elements more than 64 deep
        the request has an element with more than 256 attributes
        the request must be one REQUEST element
        the request ends inside an element
        the request gives QUERY twice
        the request has no DEVICEID
        the request's DEVICEID is invalid: "web01" is not an OCS DEVICEID: a host name, then -YYYY-MM-DD-HH-MM-SS, at most 200 bytes
        the request has no QUERY
        "#);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(bytes in any::<Vec<u8>>(), pieces in prop::collection::vec(piece(), 0..40)) {
            let _ = OcsRequest::parse(&bytes);
            let _ = OcsRequest::parse(pieces.concat().as_bytes());
        }
    }

    fn piece() -> impl Strategy<Value = String> {
        let known = [
            "<REQUEST>",
            "</REQUEST>",
            "<REQUEST",
            "/>",
            ">",
            "<CONTENT>",
            "</CONTENT>",
            "<QUERY>",
            "</QUERY>",
            "DOWNLOAD",
            " ERR='",
            "'",
            "\"",
            "&",
            "&#x",
            "0;",
            "&lt;",
            "<![CDATA[",
            "]]>",
            "<!--",
            "-->",
            "<?xml",
            "?>",
            "<!DOCTYPE",
            "<HARDWARE NAME='x'>",
            "é",
            "\u{FEFF}",
            "PC42-2026-03-04-05-06-07",
            "<",
            "</",
        ];
        prop_oneof![4 => prop::sample::select(known.map(str::to_owned).to_vec()), 1 => "\\PC{0,5}"]
    }
}
