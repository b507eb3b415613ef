//! Kinds of problems, and the pages that their `type` leads to.

use std::fmt::Write;

/// A kind of problem that a plane answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemKind {
    /// The status of the answer.
    pub status: u16,
    /// The stable code.
    pub code: &'static str,
    /// What has happened.
    pub meaning: &'static str,
    /// What whoever asked does about it.
    pub cure: &'static str,
}

impl ProblemKind {
    /// The path of the page about the kinds with this code.
    pub const PATH: &'static str = "/problems/";
}

/// The title of the problems with a code: `sold-out` is `Sold out`.
pub fn title_of(code: &str) -> String {
    let words = code.replace('-', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
     <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n";

/// The page about the problems with this code; `None` when the plane has none.
pub fn page_of(kinds: &[ProblemKind], code: &str) -> Option<String> {
    let of_code: Vec<_> = kinds.iter().filter(|kind| kind.code == code).collect();
    let first = of_code.first()?;
    let title = title_of(first.code);
    let mut page = format!("{HEAD}<title>{title}</title>\n<h1>{title}</h1>\n");
    let _ = writeln!(page, "<p>Status {}, code <code>{}</code>.", first.status, first.code);
    for kind in of_code {
        let _ = writeln!(page, "<h2>{}</h2>", in_html(kind.meaning));
        let _ = writeln!(page, "<p>{}", in_html(kind.cure));
    }
    let _ = writeln!(
        page,
        "<p>The answer's <code>detail</code> says more of the one request, its <code>instance</code> is the id by which the \
         engine's operator finds it. <a href=\"/problems\">All problems</a>."
    );
    Some(page)
}

/// The page about all problems of a plane.
pub fn page_of_all(kinds: &[ProblemKind]) -> String {
    let mut page = format!("{HEAD}<title>Problems</title>\n<h1>Problems</h1>\n<table>\n");
    page.push_str("<tr><th>status<th>code<th>what has happened<th>what helps\n");
    for ProblemKind { status, code, meaning, cure } in kinds {
        let (meaning, cure) = (in_html(meaning), in_html(cure));
        let path = ProblemKind::PATH;
        let _ =
            writeln!(page, "<tr><td>{status}<td><a href=\"{path}{code}\">{code}</a><td>{meaning}<td>{cure}");
    }
    page.push_str("</table>\n");
    page
}

fn in_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [ProblemKind; 2] = [
        ProblemKind { status: 409, code: "sold-out", meaning: "No units <left>.", cure: "Come back." },
        ProblemKind { status: 401, code: "unauthorized", meaning: "No name.", cure: "Say it." },
    ];

    #[test]
    fn a_code_has_its_page_and_another_none() {
        let page = page_of(&KINDS, "sold-out").unwrap();
        assert!(
            page.contains("<title>Sold out</title>") && page.contains("No units &lt;left&gt;."),
            "{page}"
        );
        assert!(!page.contains("No name."), "{page}");
        assert_eq!(page_of(&KINDS, "sold"), None);
        let all = page_of_all(&KINDS);
        assert!(KINDS.iter().all(|kind| all.contains(&format!("\"/problems/{}\"", kind.code))), "{all}");
    }
}
