use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::*;

fn script(ca: Option<&str>, proxy: Option<&str>) -> String {
    let server = "https://packcast.example.net".parse().unwrap();
    let key = "RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8";
    let trust = format!("a4dqobyha4dqobyha4dqobyha4:{key}").parse().unwrap();
    let proxy: Option<ProxyAddress> = proxy.map(|proxy| proxy.parse().unwrap());
    install_script(&server, &trust, ca, proxy.as_ref())
}

#[test]
fn the_script_installs_enrols_and_starts_the_agent() {
    let script_with_all = script(Some("ca.pem"), Some("http://proxy.example.net:3128"));
    let (_, enrols) = script_with_all.split_once("|| exit 0\n\n").unwrap();
    insta::assert_snapshot!(enrols, @r#"
    install -m 600 enrolment-token /etc/packcast/enrolment-token
    install -m 600 ca.pem /etc/packcast/ca.pem
    [ -e /etc/packcast/agent.env ] || (umask 077 && echo HTTPS_PROXY=http://proxy.example.net:3128 >/etc/packcast/agent.env)
    packcast-agent enrol \
      --server https://packcast.example.net \
      --trust a4dqobyha4dqobyha4dqobyha4:RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8 \
      --token-file /etc/packcast/enrolment-token \
      --ca-file /etc/packcast/ca.pem
    # The device has a pass now.
    rm /etc/packcast/enrolment-token
    [ ! -d /run/systemd/system ] || systemctl enable --now packcast-agent
    "#);
    let without = script(None, None);
    assert!(!without.contains("ca.pem") && !without.contains("agent.env"));
}

/// A computer whose package manager consists of stand-ins, which note their calls.
struct Computer {
    folder: TempDir,
}

impl Computer {
    /// Returns a computer with this installed version of the agent, which may be empty.
    fn new(is_debian: bool, installed: &str) -> Self {
        let computer = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for folder in ["bin", "package", "etc/packcast", "var/lib/packcast-agent"] {
            fs::create_dir_all(computer.path(folder)).unwrap();
        }
        if is_debian {
            fs::write(computer.path("etc/debian_version"), "").unwrap();
        }
        for name in ["amd64.deb", "x86_64.rpm", "enrolment-token"] {
            fs::write(computer.path("package").join(name), "").unwrap();
        }
        let calls = computer.path("calls").display().to_string();
        let noted = format!("echo \"$(basename \"$0\") $*\" >>'{calls}'");
        let real = "exec /usr/bin/dpkg \"$@\"";
        let architecture =
            format!("[ \"$1\" != --print-architecture ] || {{ echo amd64; exit; }}; {real}");
        let query = if installed.is_empty() {
            "exit 1".to_owned()
        } else {
            format!("echo '{installed}'")
        };
        let rpm = format!("case \"$*\" in *--package*) echo 0.2.0-1 ;; *) {query} ;; esac");
        for (name, body) in [
            ("dpkg", architecture.as_str()),
            ("dpkg-deb", "echo 0.2.0-1"),
            ("dpkg-query", &query),
            ("rpm", &rpm),
            ("uname", "echo x86_64"),
            ("apt-get", &noted),
            ("dnf", &noted),
            ("packcast-agent", &noted),
        ] {
            let path = computer.path("bin").join(name);
            fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        computer
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the script, and returns the calls that change the computer.
    fn run(&self, script: &str) -> Vec<String> {
        let root = self.folder.path().display().to_string();
        let own = ["/etc/", "/var/lib/", "/run/systemd/"];
        let script = own.iter().fold(script.to_owned(), |script, path| {
            script.replace(path, &format!("{root}{path}"))
        });
        let script = script.replace(
            "PATH=/usr/local/sbin",
            &format!("PATH={root}/bin:/usr/local/sbin"),
        );
        let file = self.path("package/install.sh");
        fs::write(&file, script).unwrap();
        let output = Command::new("/bin/sh").arg(&file).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        let words = calls.lines().map(|call| {
            let words: Vec<&str> = call.split(' ').take(2).collect();
            words.join(" ")
        });
        words.collect()
    }
}

fn has_dpkg() -> bool {
    Path::new("/usr/bin/dpkg").exists()
}

#[test]
fn a_version_that_is_not_older_stays() {
    let enrols = "packcast-agent enrol".to_owned();
    let check = |is_debian: bool, installed: &str, manager: Option<&str>| {
        let computer = Computer::new(is_debian, installed);
        let script = script(None, Some("http://user:secret@proxy.example.net:3128"));
        let expected: Vec<String> = manager
            .map(str::to_owned)
            .into_iter()
            .chain([enrols.clone()])
            .collect();
        assert_eq!(computer.run(&script), expected, "{is_debian} {installed:?}");
        let environment = computer.path("etc/packcast/agent.env");
        let mode = fs::metadata(&environment).unwrap().permissions().mode() & 0o777;
        let environment = fs::read_to_string(environment).unwrap();
        assert_eq!(
            environment,
            "HTTPS_PROXY=http://user:secret@proxy.example.net:3128\n"
        );
        assert_eq!(mode, 0o600);
        // A computer that has enrolled is only upgraded.
        fs::write(computer.path("var/lib/packcast-agent/pass"), "").unwrap();
        let upgraded: Vec<String> = manager.map(str::to_owned).into_iter().collect();
        assert_eq!(computer.run(&script), upgraded);
    };
    if has_dpkg() {
        let apt = Some("apt-get install");
        check(true, "", apt);
        check(true, "installed 0.1.9-1", apt);
        check(true, "installed 0.2.0~rc1-1", apt);
        check(true, "config-files 0.3.0-1", apt);
        check(true, "installed 0.2.0-1", None);
        check(true, "installed 0.10.0-1", None);
    }
    let dnf = Some("dnf install");
    check(false, "", dnf);
    check(false, "0.1.9-1", dnf);
    check(false, "0.2.0~rc1-1", dnf);
    check(false, "0.2.0-1", None);
    check(false, "0.2.0-2", None);
    check(false, "0.10.0-1", None);
}
