//! The calls of the project's programs that pages give: whether there is each command, and each flag.

use std::collections::BTreeSet;

use testbed::pages::{fenced, in_code, read};

use crate::sources::{below, root};

/// How a call begins, and of which program it is.
const STARTS: [(&str, &str); 4] = [
    ("cargo xtask ", "xtask"),
    ("seckill ", "seckill"),
    ("loadtest ", "loadtest"),
    ("cargo run --release -p loadtest -- ", "loadtest"),
];

/// The calls that a page gives, in a block or in a line: `(program, what it is told)`.
pub fn calls(text: &str) -> Vec<(&'static str, String)> {
    let text = text.replace("\\\n", " ");
    let lines = fenced(&text).flat_map(str::lines).flat_map(|line| line.split("&&"));
    let calls = lines.chain(in_code(&text)).map(str::trim).flat_map(|call| {
        STARTS
            .iter()
            .filter_map(move |(start, program)| Some((*program, call.strip_prefix(start)?.to_owned())))
    });
    calls.collect()
}

/// What of a call its program does not know: its command, and flags. All flags of a program count, whichever command takes them.
pub fn unknown(program: &str, call: &str) -> Vec<String> {
    // Behind these stands a comment, or who takes what the program prints.
    let call = call.split(['#', '|', '>']).next().unwrap_or_default();
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let command = call
        .split_whitespace()
        .next()
        .filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-'));
    let command = command.filter(|command| !has_command(program, command)).map(str::to_owned);
    let flags =
        call.split_whitespace().filter_map(|word| word.strip_prefix("--")?.split(|c| !is_of_name(c)).next());
    let mut flags = flags.filter(|flag| !flag.is_empty()).peekable();
    let known = if flags.peek().is_some() { flags_of(program) } else { BTreeSet::new() };
    let flags = flags.filter(|flag| !known.contains(*flag)).map(|flag| format!("--{flag}"));
    command.into_iter().chain(flags).collect()
}

/// Whether a program has a command.
fn has_command(program: &str, command: &str) -> bool {
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
        _ => variant(command_line_of(program)),
    }
}

fn command_line_of(program: &str) -> &'static str {
    if program == "seckill" { "src/config/cli.rs" } else { "loadtest/src/cli.rs" }
}

/// The flags of all commands of a program, without their dashes, as its sources tell them to clap.
fn flags_of(program: &str) -> BTreeSet<String> {
    let text: String = match program {
        "xtask" => below("xtask/src").iter().map(|source| read(&source.path)).collect(),
        _ => read(command_line_of(program)),
    };
    let arguments = text.split("#[arg(").skip(1).filter_map(|argument| argument.split_once(")]"));
    let flags = arguments.filter_map(|(terms, field)| {
        let long =
            terms.split(',').map(str::trim).find(|term| *term == "long" || term.starts_with("long ="))?;
        // Without a name of its own a flag has its field's.
        let field = field.trim().trim_start_matches("pub ").split(':').next()?;
        Some(long.split('"').nth(1).map_or_else(|| field.replace('_', "-"), str::to_owned))
    });
    let flags: BTreeSet<String> = flags.chain(["help", "version"].map(str::to_owned)).collect();
    assert!(flags.len() > 10, "{program} has flags: {flags:?}");
    flags
}
