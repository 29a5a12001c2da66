use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use packcast_testing::skip::{Missing, skip};

use super::*;
use crate::publish::source::Source;

const OLD: &str = "http://ocs.example.net/ocsinventory";
const NEW: &str = "https://packcast.example.net/ocsinventory/token";

fn run(root: &Path, to: &str, ca: Option<&str>) {
    let ca: Option<CaPath> = ca.map(|ca| ca.parse().unwrap());
    let script = move_script(MovedSystem::Unix, &to.parse().unwrap(), ca.as_ref());
    let file = root.join("move.sh");
    fs::write(&file, script).unwrap();
    assert!(moves(root, &file));
}

/// Runs a script, and returns `true` if it succeeds.
fn moves(root: &Path, script: &Path) -> bool {
    let status = Command::new("sh")
        .arg(script)
        .env("OCS_AGENT_CONFIG", root.join("agent.cfg"))
        .env("OCS_AGENT_STATE", root.join("state"))
        .status()
        .unwrap();
    status.success()
}

fn history(root: &Path, server: &str) -> Option<String> {
    let folder = root.join("state").join(server.replace('/', "_"));
    fs::read_to_string(folder.join("download/history")).ok()
}

#[test]
fn the_script_for_unix_moves_an_agent_and_moves_it_back() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let config = root.join("agent.cfg");
    let before = "server=ocs.example.net\ntag=lab\nca=/etc/old.pem\n";
    fs::write(&config, before).unwrap();
    let folder = root.join("state").join(OLD.replace('/', "_"));
    fs::create_dir_all(folder.join("download")).unwrap();
    fs::write(folder.join("download/history"), "1700000001\n").unwrap();

    for _ in 0..2 {
        run(root, NEW, Some("/etc/new.pem"));
        assert_eq!(history(root, NEW).as_deref(), Some("1700000001\n"));
        assert_eq!(history(root, OLD), None);
        let moved = fs::read_to_string(&config).unwrap();
        assert_eq!(moved, format!("server={NEW}\ntag=lab\nca=/etc/new.pem\n"));
    }
    run(root, OLD, Some("/etc/old.pem"));
    assert_eq!(history(root, OLD).as_deref(), Some("1700000001\n"));
    let back = fs::read_to_string(&config).unwrap();
    assert_eq!(back, format!("server={OLD}\ntag=lab\nca=/etc/old.pem\n"));
}

#[test]
fn the_address_is_read_as_the_agent_reads_it() {
    for server in [
        format!("# server=http://other.example.net\n server = \"{OLD}\"  \r\n"),
        format!("server=http://other.example.net\nSERVER='{OLD}'\n"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::write(root.join("agent.cfg"), server).unwrap();
        let folder = root.join("state").join(OLD.replace('/', "_"));
        fs::create_dir_all(folder.join("download")).unwrap();
        fs::write(folder.join("download/history"), "1").unwrap();
        run(root, NEW, None);
        assert_eq!(history(root, NEW).as_deref(), Some("1"));
        let moved = fs::read_to_string(root.join("agent.cfg")).unwrap();
        let servers = moved.lines().filter(|line| line.starts_with("server="));
        assert_eq!(servers.collect::<Vec<_>>(), [format!("server={NEW}")]);
    }
}

#[test]
fn an_agent_without_a_state_folder_stays_where_it_is() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let before = format!("server={OLD}\n");
    fs::write(root.join("agent.cfg"), &before).unwrap();
    fs::create_dir(root.join("state")).unwrap();
    let file = root.join("move.sh");
    let script = move_script(MovedSystem::Unix, &NEW.parse().unwrap(), None);
    fs::write(&file, script).unwrap();
    assert!(!moves(root, &file));
    assert_eq!(fs::read_to_string(root.join("agent.cfg")).unwrap(), before);
}

#[test]
fn an_interrupted_move_is_repeated_with_the_state_of_the_agent() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    fs::write(root.join("agent.cfg"), format!("server={OLD}\n")).unwrap();
    let state = root.join("state");
    let folder = |server: &str| state.join(server.replace('/', "_"));
    for (server, id) in [(NEW, "1"), (OLD, "fresh")] {
        fs::create_dir_all(folder(server).join("download")).unwrap();
        fs::write(folder(server).join("download/history"), id).unwrap();
    }
    let before = folder(OLD);
    fs::write(state.join("moving-agent"), before.to_str().unwrap()).unwrap();
    run(root, NEW, None);
    assert_eq!(history(root, NEW).as_deref(), Some("1"));
    assert_eq!(history(root, OLD), None);
    assert!(!state.join("moving-agent").exists());
}

#[test]
fn the_way_back_restores_the_certificate_authorities() {
    for before in ["", "ca=/etc/old.pem\n"] {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let config = format!("server={OLD}\n{before}");
        fs::write(root.join("agent.cfg"), &config).unwrap();
        fs::create_dir_all(root.join("state").join(OLD.replace('/', "_"))).unwrap();
        run(root, NEW, Some("/etc/new.pem"));
        run(root, NEW, Some("/etc/newer.pem"));
        run(root, OLD, None);
        let back = fs::read_to_string(root.join("agent.cfg")).unwrap();
        assert_eq!(back, config);
    }
}

#[test]
fn a_state_folder_of_the_new_server_is_kept_aside() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    fs::write(root.join("agent.cfg"), format!("server = {OLD}\n")).unwrap();
    for (server, id) in [(OLD, "1"), (NEW, "2")] {
        let folder = root.join("state").join(server.replace('/', "_"));
        fs::create_dir_all(folder.join("download")).unwrap();
        fs::write(folder.join("download/history"), id).unwrap();
    }
    run(root, NEW, None);
    assert_eq!(history(root, NEW).as_deref(), Some("1"));
    assert_eq!(fs::read_dir(root.join("state")).unwrap().count(), 2);
}

#[test]
fn both_scripts_are_archives_for_the_old_server() {
    let server: OcsServerAddress = NEW.parse().unwrap();
    for system in [MovedSystem::Unix, MovedSystem::Windows] {
        let script = move_script(system, &server, None);
        assert!(script.contains(NEW), "{script}");
        let has_placeholder = ["@SERVER@", "@CA@"].iter().any(|it| script.contains(it));
        assert!(!has_placeholder, "{script}");
        let archive = archive(&move_package(system, &script).unwrap());
        assert!(has_move_script(&archive), "{system:?}");
    }
}

fn archive(content: &[u8]) -> Source {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    Source::of_archive("package", file).unwrap()
}

#[test]
fn a_script_is_recognised_beside_other_files_only() {
    let packed = |files: &[(&str, &str)]| {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o755);
            tar.append_data(&mut header, name, content.as_bytes())
                .unwrap();
        }
        archive(&tar.into_inner().unwrap().finish().unwrap())
    };
    let script = move_script(MovedSystem::Unix, &NEW.parse().unwrap(), None);
    let both = packed(&[("ca.pem", "certificates"), ("other-name.sh", &script)]);
    assert!(has_move_script(&both));
    let other = packed(&[("move.sh", "#!/bin/sh\n# Moves files.\nexit 0\n")]);
    assert!(!has_move_script(&other));
    assert!(!has_move_script(&archive(b"PK\x03\x04 damaged")));
    assert!(!has_move_script(&archive(b"\x1f\x8b damaged")));
}

#[test]
fn an_agent_that_deploys_moves_when_it_has_finished() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let config = format!("server={OLD}\n");
    fs::write(root.join("agent.cfg"), &config).unwrap();
    let download = root
        .join("state")
        .join(OLD.replace('/', "_"))
        .join("download");
    fs::create_dir_all(&download).unwrap();
    fs::write(download.join("history"), "1").unwrap();
    // As the process of the agent that deploys packages.
    let lock = File::create(download.join("lock")).unwrap();
    lock.lock().unwrap();

    run(root, NEW, None);
    let now = fs::read_to_string(root.join("agent.cfg")).unwrap();
    assert_eq!(now, config, "the script waits in the background");
    drop(lock);
    // The background process ends with this file.
    while root.join("state/move-agent.sh").exists() {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(history(root, NEW).as_deref(), Some("1"));
    let now = fs::read_to_string(root.join("agent.cfg")).unwrap();
    assert_eq!(now, format!("server={NEW}\n"));
}

/// Lets the script for Windows change a file. `None` if there is no PowerShell.
fn edited(file: &Path, to: &str, ca: Option<&str>) -> Option<()> {
    let ca: Option<CaPath> = ca.map(|ca| ca.parse().unwrap());
    let script = move_script(MovedSystem::Windows, &to.parse().unwrap(), ca.as_ref());
    let path = file.with_file_name("move.ps1");
    fs::write(&path, script).unwrap();
    let run = Command::new("pwsh")
        .args(["-NoProfile", "-File"])
        .arg(path)
        .arg("-Edit")
        .arg(file)
        .status();
    let Ok(status) = run else {
        skip(Missing::Optional("pwsh"));
        return None;
    };
    assert!(status.success());
    Some(())
}

#[test]
fn the_script_for_windows_changes_the_section_http_and_restores_it() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("ocsinventory.ini");
    // The name is in code page 1252.
    let mut before = b"[OCS Inventory Agent]\r\nServer=other\r\nTag=B\xfcro\r\n".to_vec();
    before.extend(b"[HTTP]\r\nServer=http://ocs.example.net/ocsinventory\r\nProxyType=0\r\n\r\n[Service]\r\nTTO_WAIT=1\r\n");
    fs::write(&file, &before).unwrap();
    for _ in 0..2 {
        if edited(&file, NEW, Some("cacert.pem")).is_none() {
            return;
        }
        let mut expected = b"[OCS Inventory Agent]\r\nServer=other\r\nTag=B\xfcro\r\n".to_vec();
        expected.extend(format!("[HTTP]\r\nServer={NEW}\r\nProxyType=0\r\nSSL=1\r\nCaBundle=cacert.pem\r\n\r\n[Service]\r\nTTO_WAIT=1\r\n").bytes());
        assert_eq!(fs::read(&file).unwrap(), expected);
    }
    edited(&file, OLD, None).unwrap();
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn the_script_for_windows_adds_missing_lines_and_keeps_the_encoding() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("ocsinventory.ini");
    let wide = |text: &str| -> Vec<u8> {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [0xff, 0xfe].into_iter().chain(units).collect()
    };
    fs::write(&file, wide("[Service]\r\nTTO_WAIT=1\r\n")).unwrap();
    if edited(&file, NEW, None).is_some() {
        let expected = wide(&format!(
            "[Service]\r\nTTO_WAIT=1\r\n\r\n[HTTP]\r\nServer={NEW}"
        ));
        assert_eq!(fs::read(&file).unwrap(), expected);
    }
}

#[test]
fn addresses_that_a_script_could_misread_are_refused() {
    let refused = |text: &str| text.parse::<OcsServerAddress>().is_err();
    for text in [
        "ocs.example.net",
        "https://x'y/",
        "https://$x",
        "ftp://x",
        "https://x/",
    ] {
        assert!(refused(text), "{text}");
    }
    let server = "https://a b".parse::<OcsServerAddress>().unwrap_err();
    let ca = "/etc/$x".parse::<CaPath>().unwrap_err();
    insta::assert_snapshot!(format!("{server}\n{ca}"), @r#"
    cannot use "https://a b" as the address of a server: expected https://HOST/PATH with letters, digits and any of . _ ~ : / -
    cannot use "/etc/$x" as a path on the devices: expected letters, digits, spaces and any of . _ : / \ -
    "#);
}
