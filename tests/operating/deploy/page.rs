//! The page of `deploy/`, as a reader follows it from the checkout's folder.

use std::path::PathBuf;

use super::{deployed, text_of};

/// The files that a command needs, as it names them. What a script makes is there once it has run.
fn files_of(command: &str) -> Vec<String> {
    if let Some(asked) = command.strip_prefix("docker compose ") {
        let named = asked.split_once("--file ").and_then(|(_, rest)| rest.split(' ').next());
        return vec![named.unwrap_or("compose.yml").to_owned()];
    }
    let words = command.split([' ', '"', '(', ')']);
    let files = words.filter(|word| ["deploy/", "./"].iter().any(|start| word.starts_with(start)));
    files.map(|file| file.split("/secrets/").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn what_a_reader_types_is_found_from_where_the_page_has_led() {
    let (page, mut folder) = (text_of("README.md"), PathBuf::new());
    let (mut is_block, mut found) = (false, 0);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
            continue;
        }
        let typed: Vec<_> = if is_block {
            vec![line.trim()]
        } else {
            line.split('`').skip(1).step_by(2).filter(|code| code.starts_with("docker ")).collect()
        };
        for command in typed {
            for file in files_of(command) {
                let is_there = deployed("..").join(&folder).join(&file).exists();
                assert!(is_there, "{command}: there is no {file} in {}", folder.display());
                found += 1;
            }
            if let Some(to) = command.strip_prefix("cd ") {
                folder.push(to);
            }
        }
    }
    assert!(found >= 8, "{found}");
}
