//! What the pages name.

use std::fs;
use std::path::Path;

use crate::sources::{Source, root};

/// A page of the project.
pub fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

/// Every page of the project, from its folder, in order.
pub fn all() -> Vec<String> {
    let mut pages = Vec::new();
    collect(&root(), &mut pages);
    pages.sort();
    pages
}

fn collect(folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            // What is built, what an engine or a load test left behind, and what belongs to tools.
            if !name.starts_with('.') && !["target", "data", "out"].contains(&name.as_str()) {
                collect(&path, into);
            }
        } else if name.ends_with(".md") {
            into.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
}

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

/// The commands of one of the project's programs that a page gives, in a block or in a line: `(program, command)`.
pub fn commands(text: &str) -> Vec<(&'static str, String)> {
    const STARTS: [(&str, &str); 4] = [
        ("cargo xtask ", "xtask"),
        ("seckill ", "seckill"),
        ("loadtest ", "loadtest"),
        ("cargo run --release -p loadtest -- ", "loadtest"),
    ];
    let lines = blocks(text).flat_map(str::lines).flat_map(|line| line.split("&&"));
    let calls = lines.chain(in_code(text)).map(str::trim).flat_map(|call| {
        STARTS.iter().filter_map(move |(start, program)| Some((*program, call.strip_prefix(start)?)))
    });
    let named = calls.filter_map(|(program, call)| {
        let word = call.split_whitespace().next()?;
        let is_name = word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
        is_name.then(|| (program, word.to_owned()))
    });
    named.collect()
}

/// Whether a program has a command.
pub fn has_command(program: &str, command: &str) -> bool {
    let variant = |file: &str| {
        let words = command.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
        let name = words.collect::<String>();
        read(file).lines().any(|line| line.trim().trim_end_matches([',', '{', '(', ' ']).eq(&name))
    };
    match program {
        // One file each, or one folder.
        "xtask" => {
            let name = command.replace('-', "_");
            ["", ".rs"].iter().any(|end| root().join(format!("xtask/src/{name}{end}")).exists())
        }
        "seckill" => variant("src/config/cli.rs"),
        _ => variant("loadtest/src/cli.rs"),
    }
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

/// What stands outside of fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    text.split("```").step_by(2)
}

/// What stands in fenced blocks.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split("```").skip(1).step_by(2)
}

/// What stands between backticks, outside of fenced blocks.
fn in_code(text: &str) -> impl Iterator<Item = &str> {
    prose(text).flat_map(|prose| prose.split('`').skip(1).step_by(2))
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
