//! Errors from reading a database.

use mysql_async::Error;

use super::address::DatabaseAddress;

/// The code of the server for a table that does not exist.
const NO_TABLE: u16 = 1146;
/// The code of the server for a column that does not exist.
const NO_COLUMN: u16 = 1054;
/// The code of the server for a database that does not exist.
const NO_DATABASE: u16 = 1049;
/// The codes of the server for a wrong user or password, and for a database that the user may not
/// read.
const DENIED: [u16; 3] = [1044, 1045, 1698];

/// Errors from reading the database of an OCS server.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(
        "cannot connect to the database at {place} as {user}: wrong password, or no permission"
    )]
    Denied {
        place: String,
        user: String,
        source: Error,
    },
    #[error("cannot read database {database} at {place}: it does not exist")]
    NoDatabase { place: String, database: String },
    #[error("cannot connect to the database at {place}")]
    Connect { place: String, source: Error },
    #[error("cannot read table {table} of the database")]
    Table { table: &'static str, source: Error },
    #[error("cannot read database {database}: it has no tables of an OCS server")]
    OtherDatabase { database: String },
    #[error("cannot read table {table} of the database: expected at most {limit} rows")]
    TooManyRows { table: &'static str, limit: usize },
}

impl ReadError {
    pub(crate) fn of_connection(address: &DatabaseAddress, source: Error) -> Self {
        let place = address.place();
        match code(&source) {
            Some(code) if DENIED.contains(&code) => Self::Denied {
                place,
                user: address.user().to_owned(),
                source,
            },
            Some(NO_DATABASE) => Self::NoDatabase {
                place,
                database: address.database().to_owned(),
            },
            _ => Self::Connect { place, source },
        }
    }

    /// Returns true if the table, or one of its columns, does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Table { source, .. }
            if code(source).is_some_and(|code| [NO_TABLE, NO_COLUMN].contains(&code)))
    }
}

fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Server(error) => Some(error.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;

    fn server(code: u16) -> Error {
        Error::Server(ServerError {
            code,
            message: "refused".to_owned(),
            state: "HY000".to_owned(),
        })
    }

    #[test]
    fn messages() {
        let address = "mysql://ocs@db.example.net/ocsweb".parse().unwrap();
        let errors = [
            ReadError::of_connection(&address, server(1045)),
            ReadError::of_connection(&address, server(1040)),
            ReadError::of_connection(&address, server(1049)),
            ReadError::Table {
                table: "hardware",
                source: server(1146),
            },
            ReadError::OtherDatabase {
                database: "mysql".to_owned(),
            },
            ReadError::TooManyRows {
                table: "devices",
                limit: 10,
            },
        ];
        let errors = errors.map(|error| error.to_string());
        insta::assert_snapshot!(errors.join("\n"), @"
        cannot connect to the database at db.example.net:3306 as ocs: wrong password, or no permission
        cannot connect to the database at db.example.net:3306
        cannot read database ocsweb at db.example.net:3306: it does not exist
        cannot read table hardware of the database
        cannot read database mysql: it has no tables of an OCS server
        cannot read table devices of the database: expected at most 10 rows
        ");
    }
}
