//! Which file names which: `use` declarations and paths in the code, followed through re-exports to the file that has
//! the thing.

use std::collections::{BTreeMap, BTreeSet};

use crate::pages::has_word;
use crate::sources::Source;

/// A path, part by part.
type Path = Vec<String>;

/// Every path that the code brings in by `use`.
pub fn imports(code: &str) -> Vec<Path> {
    declarations(code).into_iter().flat_map(|(_, tree)| expand(tree)).collect()
}

/// Every path that the code brings in by `use`, or names from `crate`, `self` or `super` on.
pub fn paths(code: &str) -> Vec<Path> {
    let mut found = imports(code);
    for word in code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        let path: Path = word.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        // Alone it is the beginning of a group such as `super::{a, b}`, whose paths stand above.
        if path.len() > 1 && ["crate", "self", "super"].contains(&path[0].as_str()) {
            found.push(path);
        }
    }
    found
}

/// Each `use` declaration: whether it hands on, and its tree.
fn declarations(code: &str) -> Vec<(bool, &str)> {
    let starts = code.match_indices("use ").filter(|(at, _)| code[..*at].ends_with(['\n', ' ']) || *at == 0);
    let declared = starts.map(|(at, start)| {
        let line = code[..at].rsplit('\n').next().unwrap_or_default();
        let tree = code[at + start.len()..].split(';').next().unwrap_or_default();
        (line.trim_start().starts_with("pub"), tree)
    });
    declared.collect()
}

/// The code without its `use` declarations.
fn without_declarations(code: &str) -> String {
    declarations(code).into_iter().fold(code.to_owned(), |code, (_, tree)| code.replace(tree, ""))
}

/// Every path of a tree such as `a::{b, c::{d, e as f}}`.
fn expand(tree: &str) -> Vec<Path> {
    let mut found = Vec::new();
    expand_below(&[], tree, &mut found);
    found
}

fn expand_below(before: &[String], tree: &str, found: &mut Vec<Path>) {
    let parts = |path: &str| -> Path {
        let parts = path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty());
        before.iter().cloned().chain(parts).collect()
    };
    let Some((path, group)) = tree.split_once('{') else {
        found.push(parts(tree.split(" as ").next().unwrap_or(tree)));
        return;
    };
    let before = parts(path);
    let group = group.rsplit_once('}').map_or(group, |(group, _)| group);
    let (mut depth, mut start) = (0usize, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                if !group[start..at].trim().is_empty() {
                    expand_below(&before, &group[start..at], found);
                }
                start = (at + 1).min(group.len());
            }
            _ => {}
        }
    }
}

/// The files of the crate by module path, and their arrows.
pub struct Arrows(BTreeMap<Path, BTreeSet<Path>>);

/// What each module hands on.
type Exports = BTreeMap<Path, Vec<Path>>;

impl Arrows {
    /// Reads the arrows between these files. To hand something on is not to use it, unless the code names it, too.
    pub fn of(sources: &[Source]) -> Self {
        let exports = |code: &str| {
            let handed_on = declarations(code).into_iter().filter(|(hands_on, _)| *hands_on);
            handed_on.flat_map(|(_, tree)| expand(tree)).collect::<Vec<_>>()
        };
        let exports: Exports =
            sources.iter().map(|source| (source.module(), exports(&source.code))).collect();
        let arrows = sources.iter().map(|source| {
            let own = source.module();
            let body = without_declarations(&source.code);
            let is_used = |path: &Path| path.last().is_some_and(|name| has_word(&body, name));
            let named =
                paths(&source.code).into_iter().filter(|path| !exports[&own].contains(path) || is_used(path));
            let files = named.filter_map(|path| file_of(&own, &path, &exports, 0));
            (own.clone(), files.filter(|file| *file != own).collect())
        });
        Self(arrows.collect())
    }

    /// Groups of files of which each reaches each, by their module paths.
    pub fn circles(&self) -> Vec<Path> {
        let reached: BTreeMap<_, _> = self.0.keys().map(|file| (file, self.reached_from(file))).collect();
        let mut circles = BTreeSet::new();
        for (file, others) in &reached {
            let circle = others.iter().filter(|other| reached[*other].contains(*file));
            let circle: Path = circle.map(|file| place(file)).collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }

    /// Every arrow: the place of the file that names something, and of the file that has it.
    pub fn all(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().flat_map(|(file, others)| others.iter().map(|other| (place(file), place(other))))
    }

    fn reached_from(&self, file: &Path) -> BTreeSet<Path> {
        let (mut seen, mut next) = (BTreeSet::new(), vec![file.clone()]);
        while let Some(file) = next.pop() {
            next.extend(self.0[&file].iter().filter(|to| seen.insert((*to).clone())).cloned());
        }
        seen
    }
}

fn place(module: &[String]) -> String {
    format!("src/{}", module.join("/"))
}

/// The file that a path named in module `own` leads to; `None` outside of the crate.
fn file_of(own: &[String], path: &[String], exports: &Exports, depth: usize) -> Option<Path> {
    let child = |module: &[String], name: &String| -> Option<Path> {
        let child: Path = module.iter().chain([name]).cloned().collect();
        exports.contains_key(&child).then_some(child)
    };
    let (mut at, mut rest) = (own.to_vec(), path);
    match path.first()?.as_str() {
        "crate" => {
            at.clear();
            rest = &path[1..];
        }
        "self" | "super" => {
            while let Some((step, after)) =
                rest.split_first().filter(|(step, _)| *step == "self" || *step == "super")
            {
                if step == "super" {
                    at.pop();
                }
                rest = after;
            }
        }
        _ => {
            child(own, path.first()?)?;
        }
    }
    while let Some((name, after)) = rest.split_first()
        && let Some(inner) = child(&at, name)
    {
        (at, rest) = (inner, after);
    }
    let handed_on = rest.first().filter(|_| depth < 8).and_then(|name| {
        let fits = |export: &&Path| export.last().is_some_and(|last| last == name || last == "*");
        let mut files = exports
            .get(&at)?
            .iter()
            .filter(fits)
            .filter_map(|export| file_of(&at, export, exports, depth + 1));
        files.find(|file| *file != at)
    });
    handed_on.or_else(|| exports.contains_key(&at).then_some(at))
}
