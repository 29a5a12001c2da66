//! Programs of packages that fail on every device, found before the package is published.
//!
//! The publisher warns, and does not refuse the package: a device may differ from every other one.

use std::collections::BTreeMap;

use packcast_protocol::Action;
use packcast_protocol::manifest::Platform;

use super::inspect::{Inspection, TopFile};
use super::plan::Plan;
use crate::text;

/// The reason why the program of a package fails on every device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailingProgram {
    #[error(
        "the first line of {program:?} ends with a Windows line break, so Linux and macOS look for an interpreter of the name {interpreter:?}: convert the line breaks of the file"
    )]
    LineBreak {
        program: String,
        interpreter: String,
    },
    #[error(
        "the first line of {program:?} names the interpreter {interpreter:?}, but Linux and macOS need its full path"
    )]
    RelativeInterpreter {
        program: String,
        interpreter: String,
    },
    #[error("{program:?} is a program for {found}, but the package is for {platform}")]
    OtherSystem {
        program: String,
        found: &'static str,
        platform: &'static str,
    },
    #[error(
        "execute starts {program:?}, which is not executable in the archive: run 'chmod +x' on the file, or use --command 'sh ./{program}'"
    )]
    NotExecutable { program: String },
    #[error("execute starts {program:?}, which is not at the top of the archive")]
    Missing { program: String },
}

/// Returns the reasons why the program of a plan fails on every device. `inspection` belongs to the
/// archive of the plan.
pub fn failing_program(plan: &Plan, inspection: Option<&Inspection>) -> Vec<FailingProgram> {
    let none = BTreeMap::new();
    let files = inspection.map_or(&none, |inspection| &inspection.contents.top);
    // OCS agents and Packcast agents make the program of LAUNCH executable.
    match &plan.action {
        Action::Launch { command, .. } => {
            let program = command.program().as_str();
            let file = files.get(program).and_then(Option::as_ref);
            file.map_or_else(Vec::new, |file| of_file(program, file, plan.terms.platform))
        }
        Action::Execute { command, .. } => {
            let Some(program) = started_file(command.as_str()) else {
                return Vec::new();
            };
            of_execute(program, files.get(program), plan.terms.platform)
        }
        // `agent_builds` has read the platforms of the programs.
        Action::Store { .. } | Action::Update { .. } => Vec::new(),
    }
}

/// Returns the file at the top of the archive that a command of EXECUTE starts on Unix.
fn started_file(command: &str) -> Option<&str> {
    let word = command.split_whitespace().next()?;
    let name = word.strip_prefix("./")?;
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    (!name.is_empty() && name.chars().all(is_plain)).then_some(name)
}

/// `entry` is the entry of the archive with the name of the program. A link or a folder says nothing
/// about the program.
fn of_execute(
    program: &str,
    entry: Option<&Option<TopFile>>,
    platform: Platform,
) -> Vec<FailingProgram> {
    let name = || program.to_owned();
    let file = match entry {
        None => return vec![FailingProgram::Missing { program: name() }],
        Some(None) => return Vec::new(),
        Some(Some(file)) => file,
    };
    let mut found = of_file(program, file, platform);
    // Windows has no such permission.
    if !file.is_executable && platform != Platform::Windows {
        found.push(FailingProgram::NotExecutable { program: name() });
    }
    found
}

fn of_file(program: &str, file: &TopFile, platform: Platform) -> Vec<FailingProgram> {
    let (head, program) = (file.head.as_slice(), program.to_owned());
    let script = interpreter(head).filter(|_| platform != Platform::Windows);
    if let Some(interpreter) = script {
        if interpreter.ends_with('\r') {
            return vec![FailingProgram::LineBreak {
                program,
                interpreter,
            }];
        }
        if !interpreter.starts_with('/') {
            return vec![FailingProgram::RelativeInterpreter {
                program,
                interpreter,
            }];
        }
    }
    match binary(head) {
        Some(found) if platform != Platform::Any && found != platform => {
            vec![FailingProgram::OtherSystem {
                program,
                found: text::platform(found),
                platform: text::platform(platform),
            }]
        }
        _ => Vec::new(),
    }
}

/// Returns the interpreter in the first line of a script. If the line has an argument and a Windows
/// line break, the interpreter gets a wrong argument, which not every interpreter refuses.
fn interpreter(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n');
    let line = line.into_iter().next()?;
    let words = line.split(|byte| matches!(byte, b' ' | b'\t'));
    let path = words.into_iter().find(|word| !word.is_empty())?;
    Some(String::from_utf8_lossy(path).into_owned())
}

/// Returns the system of a compiled program.
fn binary(head: &[u8]) -> Option<Platform> {
    const MACH_O: [[u8; 4]; 3] = [
        [0xFE, 0xED, 0xFA, 0xCF],
        [0xCF, 0xFA, 0xED, 0xFE],
        [0xCE, 0xFA, 0xED, 0xFE],
    ];
    match head {
        [b'M', b'Z', ..] => Some(Platform::Windows),
        [0x7F, b'E', b'L', b'F', ..] => Some(Platform::Linux),
        [a, b, c, d, ..] if MACH_O.contains(&[*a, *b, *c, *d]) => Some(Platform::Macos),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::messages;

    fn file(head: &[u8]) -> TopFile {
        TopFile {
            head: head.to_vec(),
            is_executable: true,
        }
    }

    fn launched(head: &[u8], platform: Platform) -> Vec<FailingProgram> {
        of_file("setup.sh", &file(head), platform)
    }

    #[test]
    fn an_interpreter_with_a_windows_line_break_fails_on_unix() {
        for platform in [Platform::Any, Platform::Linux, Platform::Macos] {
            let found = launched(b"#!/bin/sh\r\nexit 0\r\n", platform);
            assert!(matches!(found[..], [FailingProgram::LineBreak { .. }]));
            assert_eq!(launched(b"#!/bin/sh\nexit 0\n", platform), []);
            assert_eq!(launched(b"#! /bin/sh -e\r\n", platform), []);
            assert_eq!(launched(b"echo\r\n", platform), []);
        }
        assert_eq!(launched(b"#!/bin/sh\r\n", Platform::Windows), []);
    }

    #[test]
    fn a_compiled_program_fails_on_another_system() {
        let (elf, windows) = (&b"\x7fELF\x02"[..], &b"MZ\x90"[..]);
        let mach = &[0xCF, 0xFA, 0xED, 0xFE, 7][..];
        for (program, platform) in [
            (elf, Platform::Linux),
            (windows, Platform::Windows),
            (mach, Platform::Macos),
        ] {
            assert_eq!(launched(program, platform), []);
            assert_eq!(launched(program, Platform::Any), []);
            let others = [Platform::Linux, Platform::Windows, Platform::Macos];
            for other in others.into_iter().filter(|other| *other != platform) {
                let found = launched(program, other);
                assert!(matches!(found[..], [FailingProgram::OtherSystem { .. }]));
            }
        }
    }

    #[test]
    fn execute_starts_an_executable_file_of_the_archive() {
        let check =
            |file: Option<Option<TopFile>>, platform| of_execute("run.sh", file.as_ref(), platform);
        let script = file(b"#!/bin/sh\n");
        assert_eq!(check(Some(Some(script.clone())), Platform::Any), []);
        let plain = TopFile {
            is_executable: false,
            ..script
        };
        let program = || "run.sh".to_owned();
        let refused = [FailingProgram::NotExecutable { program: program() }];
        assert_eq!(check(Some(Some(plain.clone())), Platform::Any), refused);
        assert_eq!(check(Some(Some(plain)), Platform::Windows), []);
        assert_eq!(check(Some(None), Platform::Any), []);
        let missing = [FailingProgram::Missing { program: program() }];
        assert_eq!(check(None, Platform::Any), missing);
        for (command, expected) in [
            ("./run.sh --all", Some("run.sh")),
            ("sh ./run.sh", None),
            ("./bin/run.sh", None),
            ("./$NAME", None),
            ("true", None),
        ] {
            assert_eq!(started_file(command), expected, "{command}");
        }
    }

    #[test]
    fn warnings_of_failing_programs() {
        let found = [
            launched(b"#!/bin/sh\r\n", Platform::Any),
            launched(b"#!bash\n", Platform::Any),
            launched(b"MZ", Platform::Linux),
            of_execute("run.sh", None, Platform::Any),
            vec![FailingProgram::NotExecutable {
                program: "run.sh".to_owned(),
            }],
        ];
        insta::assert_snapshot!(messages(found.concat()), @r#"
        the first line of "setup.sh" ends with a Windows line break, so Linux and macOS look for an interpreter of the name "/bin/sh\r": convert the line breaks of the file
        the first line of "setup.sh" names the interpreter "bash", but Linux and macOS need its full path
        "setup.sh" is a program for Windows, but the package is for Linux
        execute starts "run.sh", which is not at the top of the archive
        execute starts "run.sh", which is not executable in the archive: run 'chmod +x' on the file, or use --command 'sh ./run.sh'
        "#);
    }
}
