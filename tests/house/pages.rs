//! What the pages name.

use std::fs;

use crate::sources::{Source, root};

/// A page of the project.
pub fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

/// Every path and every name of a type or function that the page sets in code and that does not exist: paths are looked
/// for from the project's folder and from `src`, names as whole words of the sources.
pub fn names_that_do_not_exist(page: &str, sources: &[Source]) -> Vec<String> {
    let text = read(page);
    let exists = |name: &&str| match kind(name) {
        Kind::Path => ["", "src"].iter().any(|folder| root().join(folder).join(name).exists()),
        Kind::Name => {
            let last = name.rsplit("::").next().unwrap_or(name);
            sources.iter().any(|source| has_word(&source.code, last))
        }
        Kind::Other => true,
    };
    let mut missing: Vec<_> = in_code(&text).filter(|name| !exists(name)).map(str::to_owned).collect();
    missing.sort();
    missing.dedup();
    missing
}

/// What a text in backticks is.
enum Kind {
    Path,
    Name,
    Other,
}

fn kind(text: &str) -> Kind {
    let word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let of_path = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let ending = text.rsplit_once('.').map_or("", |(_, ending)| ending);
    let is_file = ["rs", "md", "lua", "toml", "sql", "svg"].contains(&ending) || text.ends_with('/');
    if text.chars().all(of_path) && !text.starts_with('/') && is_file {
        return Kind::Path;
    }
    let is_type =
        text.starts_with(|c: char| c.is_ascii_uppercase()) && text.chars().any(|c| c.is_ascii_lowercase());
    let is_name = text.contains("::") && text.split("::").all(word) || word(text) && is_type;
    if is_name { Kind::Name } else { Kind::Other }
}

/// What stands between backticks, outside of fenced blocks.
fn in_code(text: &str) -> impl Iterator<Item = &str> {
    text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2))
}

fn has_word(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(part) && !code[at + word.len()..].starts_with(part))
}

/// The names that a file gives to threads, without the numbers behind them.
pub fn thread_names(source: &Source) -> Vec<String> {
    let calls = ["thread_name(", ".name("].into_iter().flat_map(|call| source.code.split(call).skip(1));
    let texts =
        calls.filter_map(|argument| argument.trim_start().trim_start_matches("format!(").strip_prefix('"'));
    let names = texts
        .map(|text| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>());
    names.map(|name| name.trim_end_matches('-').to_owned()).collect()
}
