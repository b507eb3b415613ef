//! The project's pages, and what their readers copy from them.

use std::fs;
use std::path::Path;

/// The project's folder.
///
/// # Panics
/// This package is in none.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is in the project's folder")
}

/// A page, or another file, by its path from the project's folder.
///
/// # Panics
/// There is none.
pub fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// Every page of the project, by its path from the project's folder, in order.
pub fn all() -> Vec<String> {
    files(".md")
}

/// Those that tell of the project as it is: what changed is told by the names of its time.
pub fn of_today() -> impl Iterator<Item = String> {
    all().into_iter().filter(|page| page != "CHANGELOG.md")
}

/// Every file of the project whose name ends so, in the same way; but for what tools keep in folders of theirs.
pub fn files(ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(root(), ending, &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, ending: &str, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("what is in it")) {
        let (path, name) = (entry.path(), entry.file_name().into_string().expect("a name in UTF-8"));
        if entry.file_type().expect("its type").is_dir() {
            // What is built, what an engine or a load test left behind, and what belongs to tools.
            if !name.starts_with('.') && !["target", "data", "out"].contains(&name.as_str()) {
                collect(&path, ending, into);
            }
        } else if name.ends_with(ending) {
            let path = path.strip_prefix(root()).expect("it is in the project");
            into.push(path.to_str().expect("a path in UTF-8").to_owned());
        }
    }
}

/// What stands outside of fenced blocks.
pub fn prose(text: &str) -> impl Iterator<Item = &str> {
    text.split("```").step_by(2)
}

/// What stands in fenced blocks, each from the name of its language on.
pub fn fenced(text: &str) -> impl Iterator<Item = &str> {
    text.split("```").skip(1).step_by(2)
}

/// The fenced blocks of this language, without its name.
pub fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    fenced(text).filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

/// What stands between backticks, outside of fenced blocks.
pub fn in_code(text: &str) -> impl Iterator<Item = &str> {
    prose(text).flat_map(|prose| prose.split('`').skip(1).step_by(2))
}
