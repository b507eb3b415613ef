//! The project's Rust files as text.

use std::fs;
use std::path::{Path, PathBuf};

/// One file.
pub struct Source {
    /// From the project's folder, with `/`.
    pub path: String,
    /// Without comments and without unit tests: what the engine is made of. Nothing, where there is nothing else.
    pub code: String,
    /// All of its lines, with comments and tests.
    pub lines: usize,
}

/// The project's folder.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a folder of the project, in order of their paths.
pub fn below(folder: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    collect(&root().join(folder), &mut sources);
    assert!(!sources.is_empty(), "{folder} has Rust files");
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn collect(folder: &Path, into: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, into);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
            let code = if path.starts_with("src/") && path.ends_with("/tests.rs") {
                String::new()
            } else {
                code(&text)
            };
            into.push(Source { path, lines: text.lines().count(), code });
        }
    }
}

impl Source {
    /// The room of `src` that the file is in: the folder, or the file itself where it stands alone.
    pub fn room(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inner.split_once('/').map_or_else(|| inner.trim_end_matches(".rs"), |(room, _)| room)
    }

    /// How often the code has an expression that begins like this. Definitions are none, nor is what a text names.
    pub fn makes(&self, begin: &str) -> usize {
        let defines = ["struct ", "impl ", "for ", "\"", "`"];
        let found = self.code.match_indices(begin);
        found.filter(|(at, _)| !defines.iter().any(|word| self.code[..*at].ends_with(word))).count()
    }

    /// The file's module path.
    pub fn module(&self) -> Vec<String> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut module: Vec<_> = inner.split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
            module.pop();
        }
        module
    }
}

fn code(text: &str) -> String {
    let without_tests = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let lines = without_tests.lines().map(|line| line.split("//").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}
