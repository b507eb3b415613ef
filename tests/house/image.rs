//! The image: whether what its build copies is what cargo needs. Nothing is compiled, and no container engine is needed: the
//! copies are made in a folder, what each step does before it calls cargo is done there, and cargo reads the manifests.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::pages::read;
use crate::sources::root;

/// What cargo says of the files that are there, at each step of the build that calls it.
pub fn builds() -> Vec<Result<(), String>> {
    let dockerfile = read("Dockerfile");
    let dockerfile: Vec<_> = dockerfile.lines().filter(|line| !line.starts_with('#')).collect();
    let dockerfile = dockerfile.join("\n").replace("\\\n", " ");
    let steps = dockerfile.lines().map(str::trim).skip_while(|step| !step.ends_with(" AS build")).skip(1);
    let folder = tempfile::tempdir().unwrap();
    let mut outcomes = Vec::new();
    for step in steps.take_while(|step| !step.starts_with("FROM ")) {
        if let Some(copied) = step.strip_prefix("COPY ") {
            copy(copied, folder.path());
        } else if let Some((before, _)) =
            step.strip_prefix("RUN ").and_then(|run| run.split_once("cargo build"))
        {
            let before = format!("{before} true");
            assert!(run(Command::new("sh").args(["-ec", &before]), folder.path()).is_ok(), "{before}");
            let read = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
            outcomes.push(run(Command::new(env!("CARGO")).args(read), folder.path()));
        }
    }
    outcomes
}

/// What is copied, as a build sees it: the whole context is what .dockerignore lets through.
fn copy(words: &str, into: &Path) {
    let words: Vec<_> = words.split_whitespace().collect();
    let (to, from) = words.split_last().expect("COPY has words");
    let ignored = read(".dockerignore");
    let context: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let from = if from == ["."] { context } else { from.to_vec() };
    for name in from {
        let is_file = root().join(name).is_file();
        // A folder's files go into the folder that is named, files below it.
        let to = if matches!(*to, "." | "./") { into.join(name) } else { into.join(to) };
        if is_file {
            fs::copy(root().join(name), to).expect("a file that is copied");
        } else {
            fs::create_dir_all(&to).expect("a folder can be made");
            let all = root().join(name).join(".");
            run(Command::new("cp").arg("-R").arg(all).arg(to), into).expect("a folder that is copied");
        }
    }
}

fn run(command: &mut Command, folder: &Path) -> Result<(), String> {
    let output = command.current_dir(folder).stdin(Stdio::null()).output().expect("a program that starts");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
