//! What the pages name.

use std::fs;
use std::path::Path;

pub use testbed::pages::{all, of_today, read};
use testbed::pages::{in_code, prose};

use crate::sources::{Source, root};

/// The links of a page that lead nowhere: to a file of the project that does not exist, or to a heading that the page
/// behind them does not have. `cargo doc` looks after links to code, and nobody after other sites.
pub fn broken_links(page: &str) -> Vec<String> {
    let text = read(page);
    let folder = Path::new(page).parent().unwrap();
    let is_broken = |link: &&str| {
        if link.contains("://") || link.starts_with("crate::") {
            return false;
        }
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let file = if file.is_empty() { root().join(page) } else { root().join(folder).join(file) };
        let has_heading =
            || fs::read_to_string(&file).is_ok_and(|text| anchors(&text).any(|is| is == anchor));
        !file.exists() || !anchor.is_empty() && !has_heading()
    };
    let without_code: String = prose(&text).flat_map(|prose| prose.split('`').step_by(2)).collect();
    let links = without_code.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    links.filter(is_broken).map(|link| format!("{page}: {link}")).collect()
}

/// What a link has to say behind `#` to lead to each heading.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let headings = prose(text).flat_map(str::lines).filter(|line| line.starts_with('#'));
    headings.map(|heading| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// The exit codes of an enum, and those of the table that tells them.
pub fn exit_codes(file: &str, page: &str) -> (Vec<u8>, Vec<u8>) {
    let file = read(file);
    let values =
        file.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = ")?.1.parse().ok());
    let page = read(page);
    let (_, table) = page.split_once("## Exit codes").expect("the page has exit codes");
    let table = table.split("\n## ").next().unwrap_or(table);
    let told = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()?.parse().ok());
    (values.collect(), told.collect())
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

pub fn has_word(code: &str, word: &str) -> bool {
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
