//! What a shell and `man` are told of the binary.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use testbed::servers::engine::binary;

use super::content;

fn seckill(args: &[&str]) -> String {
    content(Command::new(binary()).args(args))
}

#[test]
fn completions_are_taken_by_a_shell_and_complete() {
    let script = seckill(&["completions", "bash"]);
    // As bash itself does it: the function, asked for words that begin with "check".
    let asked = format!(
        "{script}\nCOMP_WORDS=(seckill check) COMP_CWORD=1 COMP_LINE='seckill check' COMP_POINT=13\n\
         _seckill seckill check seckill\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    );
    let mut bash = Command::new("bash")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs bash");
    bash.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    let said = bash.wait_with_output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.lines().collect::<Vec<_>>(), ["check-config", "check-backup"]);
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(seckill(&["completions", shell]).contains("check-config"), "{shell}");
    }
}

#[test]
fn there_is_a_manual_page_and_one_a_command() {
    let page = seckill(&["man"]);
    assert!(page.contains(".TH") && page.contains("check\\-config") && page.contains("data\\-dir"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    seckill(&["man", "--dir", folder.path().to_str().unwrap()]);
    for name in ["seckill.1", "seckill-serve.1", "seckill-verify-draw.1"] {
        let page = fs::read_to_string(folder.path().join(name)).expect(name);
        assert!(page.contains(".TH"), "{name}: {page}");
    }
    let nowhere = Command::new(binary()).args(["man", "--dir", "/nowhere/at/all"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(74));
}
