//! `packcast import ocs`: imports from an OCS Inventory server.

mod downloads;
mod script;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_ocs_database::{
    AddressError, DatabaseAddress, Password, ReadError, TRIED_VERSIONS, Tls,
};
use packcast_publisher::clock::now;
use packcast_publisher::import_ocs::compare::compare;
use packcast_publisher::import_ocs::downloads::Downloads;
use packcast_publisher::import_ocs::names::ChosenNames;
use packcast_publisher::import_ocs::plan::{self, ImportPlan, ImportSource};
use packcast_publisher::import_ocs::rows::OcsDatabase;
use packcast_publisher::import_ocs::{Repeat, existing_packages, keep_new, perform, read_files};
use packcast_publisher::{Failure, Target, Warning, text_file};

use self::downloads::DownloadsArgs;
use self::script::ScriptArgs;
use crate::Globals;
use crate::command::key_arg::KeyArg;
use crate::command::publish::interruptible;
use crate::confirm::ConfirmArgs;
use crate::output::{self, is_interactive};
use crate::progress::{Bar, until_interrupted};
use crate::prompt;

/// The environment variable with the password of the database user.
const PASSWORD_VARIABLE: &str = "PACKCAST_OCS_PASSWORD";

/// Import packages, groups, assignments and results from an OCS Inventory server
///
/// Reads the database of the server and its download directory, and writes to neither. Packages keep
/// their ids, and devices theirs, so that no device deploys a package again. Run the command again to
/// import what is new on the server since then. The exit code is 1 if something could not be
/// imported, or differs.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast import ocs --database mysql://ocs@db.example.net/ocsweb \\
      --downloads /var/lib/ocsinventory-reports/download --dry-run
  packcast import ocs --downloads https://ocs.example.net/download \\
      --names names.txt \\
      --database 'mysql://ocs@localhost/ocsweb?socket=/run/mysqld/mysqld.sock'
  packcast import ocs --agent-script unix \\
      --server https://packcast.example.net/ocsinventory/TOKEN > move.sh")]
pub(crate) struct Args {
    /// Address of the database, such as `mysql://USER@HOST/DATABASE`
    ///
    /// The password is read from --password-file, from the environment variable
    /// `PACKCAST_OCS_PASSWORD`, or from the terminal. Connections to other machines use TLS.
    #[arg(long, value_name = "URL", required_unless_present = "agent_script")]
    database: Option<String>,
    #[command(flatten)]
    downloads: DownloadsArgs,
    /// Read the password of the database user from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Verify the database server with the certificate authorities in this file
    #[arg(long, value_name = "FILE", conflicts_with = "without_tls")]
    tls_ca: Option<PathBuf>,
    /// Connect to the database without TLS, also over a network
    #[arg(long)]
    without_tls: bool,
    /// Read names of packages and groups from this file
    ///
    /// Each line is '<package id> <name>@<version>' or 'group <id> <name>'. The dry run shows the ids
    /// and the names that a rule makes of the names on the OCS server. A group that exists here and
    /// that this file names is joined.
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    /// Also import rows of an earlier import that somebody has changed here since
    ///
    /// Without the option, a repeated import carries over what is new on the OCS server: it does not
    /// assign again what was unassigned here, and creates no group again that was deleted here.
    #[arg(long, conflicts_with = "compare")]
    again: bool,
    /// Compare the results of the OCS server with those here, and import nothing
    ///
    /// The text shows the packages with different outcomes, JSON shows all. The exit code is 1 if
    /// outcomes differ, or if rows of the OCS server cannot be compared.
    #[arg(long, conflicts_with_all = ["dry_run", "yes"])]
    compare: bool,
    #[command(flatten)]
    script: ScriptArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    key: KeyArg,
}

/// Reads the address of the database. An error does not contain the text, which may have a password.
fn address(text: &str) -> Result<DatabaseAddress, Failure> {
    text.parse()
        .map_err(|error: AddressError| Failure::usage(error.to_string()))
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        if let Some(printed) = self.script.print() {
            return printed;
        }
        let names = self.chosen_names()?;
        let target = globals.open().await?;
        let downloads = self.downloads.open().await?;
        let bar = Bar::new();
        let reading = Box::pin(self.read());
        let database = until_interrupted("rows", reading, &bar).await?;
        output::warn(&version_warning(&database));
        let planning = Box::pin(self.plan(&target, database, names, &downloads));
        let mut plan = until_interrupted("bytes", planning, &bar).await?;
        if self.compare {
            let comparing = Box::pin(compare(&target, plan));
            let compared = until_interrupted("devices", comparing, &bar).await?;
            output::result(globals.format, &compared, text::compared);
            return text::conclude_comparison(&compared);
        }
        let repeat = if self.again { Repeat::All } else { Repeat::New };
        let keeping = Box::pin(keep_new(&target, &mut plan, repeat));
        until_interrupted("devices", keeping, &bar).await?;
        if self.confirm.shows_dry_run(globals, &plan, text::plan) {
            return text::conclude(&plan.left_out);
        }
        self.confirm.agree(text::question(&plan).as_deref())?;
        let key = Arc::new(self.key.load(&target)?);
        let progress = bar.progress();
        let work = Box::pin(perform(&target, plan, &downloads, key, &progress));
        let imported = until_interrupted("devices", work, &bar).await?;
        output::result(globals.format, &imported, text::imported);
        text::conclude(&imported.left_out)
    }

    async fn read(&self) -> Result<OcsDatabase, Failure> {
        let database = self.database.as_ref().ok_or_else(|| missing("database"))?;
        let address = address(database)?;
        let password = self.password(&address)?;
        let tls = self.tls();
        let read = packcast_ocs_database::read(&address, &password, &tls);
        read.await.map_err(not_read)
    }

    /// Plans the import. The archives are read in a thread of their own.
    async fn plan(
        &self,
        target: &Target,
        database: OcsDatabase,
        names: ChosenNames,
        downloads: &Downloads,
    ) -> Result<ImportPlan, Failure> {
        let existing = existing_packages(target, &database, &names).await?;
        let downloads = downloads.clone();
        let (database, existing, files) = interruptible(move |progress| {
            let files = read_files(&database, &downloads, &existing, progress);
            Ok((database, existing, files))
        })
        .await?;
        let source = ImportSource {
            database: &database,
            files: &files,
            names: &names,
            existing: &existing,
            now: now(),
        };
        Ok(plan::plan(source))
    }

    fn tls(&self) -> Tls {
        match &self.tls_ca {
            Some(file) => Tls::Authority(file.clone()),
            None if self.without_tls => Tls::Off,
            None => Tls::Required,
        }
    }

    fn password(&self, address: &DatabaseAddress) -> Result<Password, Failure> {
        if let Some(file) = &self.password_file {
            let text = read_file(file)?;
            return Ok(Password(text.trim_end_matches(['\r', '\n']).to_owned()));
        }
        if let Ok(password) = std::env::var(PASSWORD_VARIABLE) {
            return Ok(Password(password));
        }
        if !is_interactive() {
            return Ok(Password(String::new()));
        }
        let place = address.place();
        let question = format!("Password of {} at {place}:", address.user());
        Ok(Password(prompt::passphrase(&question)?))
    }

    fn chosen_names(&self) -> Result<ChosenNames, Failure> {
        match &self.names {
            Some(file) => read_file(file)?.parse().map_err(Failure::usage),
            None => Ok(ChosenNames::default()),
        }
    }
}

fn missing(option: &str) -> Failure {
    Failure::usage(format!("--{option} is missing"))
        .hint("run 'packcast import ocs --help' to see the options")
}

fn read_file(file: &Path) -> Result<String, Failure> {
    let text = text_file::read(file);
    text.map_err(|error| Failure::failed(format!("cannot read {}: {error}", file.display())))
}

fn not_read(error: ReadError) -> Failure {
    let hint = match &error {
        ReadError::Denied { .. } => {
            "pass the password with --password-file, or set PACKCAST_OCS_PASSWORD; the user needs the permission SELECT"
        }
        ReadError::Connect { .. } => {
            "check the address in --database; a database without TLS needs --without-tls, a private certificate authority needs --tls-ca"
        }
        ReadError::OtherDatabase { .. } | ReadError::NoDatabase { .. } => {
            "check the name of the database in --database; the default of OCS Inventory is ocsweb"
        }
        ReadError::Table { .. } | ReadError::TooManyRows { .. } => return Failure::failed(error),
    };
    Failure::failed(error).hint(hint)
}

/// Warns of a database whose version was not tried.
fn version_warning(database: &OcsDatabase) -> Vec<Warning> {
    let tried = TRIED_VERSIONS.join(", ");
    let text = match &database.version {
        Some(version) if TRIED_VERSIONS.contains(&version.as_str()) => return Vec::new(),
        Some(version) => format!(
            "the schema of the OCS database has version {version}: imports were tried with {tried}"
        ),
        None => format!(
            "the schema of the OCS database has no version: imports were tried with {tried}"
        ),
    };
    vec![Warning::new(text)]
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_database_of_another_version_is_a_warning() {
        let warned = |version: Option<&str>| {
            let database = OcsDatabase {
                version: version.map(ToOwned::to_owned),
                ..OcsDatabase::default()
            };
            let warnings = version_warning(&database).into_iter();
            let lines: Vec<String> = warnings.map(|it| it.to_string()).collect();
            lines.join("\n")
        };
        let warnings = [Some("7000"), None].map(warned);
        assert_snapshot!(warnings.join("\n"), @"
        warning: the schema of the OCS database has version 7000: imports were tried with 7039, 7069
        warning: the schema of the OCS database has no version: imports were tried with 7039, 7069
        ");
        assert_eq!(warned(Some(TRIED_VERSIONS[0])), "");
    }

    #[test]
    fn files_may_begin_with_a_byte_order_mark() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("names.txt");
        let read = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            let text = read_file(&file).map_err(|failure| failure.to_string());
            text.map_err(|text| text.replace(&file.display().to_string(), "FILE"))
        };
        let line = "group 12 office\n";
        assert_eq!(read(b"\xEF\xBB\xBFgroup 12 office\n"), Ok(line.to_owned()));
        // PowerShell writes UTF-16 with `>`.
        let utf_16: Vec<u8> = line.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let refused = [read(&utf_16), read(b"group 12 b\xFCro\n")];
        assert_snapshot!(refused.map(Result::unwrap_err).join("\n"), @"
        cannot read FILE: the text is UTF-16: save it as UTF-8
        cannot read FILE: line 1 is not UTF-8: save the text as UTF-8
        ");
    }

    #[test]
    fn errors_have_next_steps() {
        let failure = not_read(ReadError::OtherDatabase {
            database: "mysql".to_owned(),
        });
        assert_snapshot!(failure, @"
        cannot read database mysql: it has no tables of an OCS server
        hint: check the name of the database in --database; the default of OCS Inventory is ocsweb
        ");
        let failure = address("mysql://ocs:secret@db.example.net/ocsweb").unwrap_err();
        assert!(!format!("{failure:?} {failure}").contains("secret"));
        let failure = read_file(Path::new("/none/names.txt")).unwrap_err();
        assert_snapshot!(failure, @"cannot read /none/names.txt: No such file or directory (os error 2)");
    }
}
