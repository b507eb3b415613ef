//! The recipes of `deploy/proxy`, as an operator fills them in.

use std::path::Path;

/// A file of that folder with each of `edits` made: what stands there, and what stands there instead.
///
/// # Panics
/// There is no such file, or it does not have what is to be replaced.
pub fn filled_in(file: &str, edits: &[(&str, &str)]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/proxy");
    let mut text = std::fs::read_to_string(folder.join(file)).expect("a recipe");
    for (from, to) in edits {
        assert!(text.contains(from), "{file} has no {from:?}");
        text = text.replace(from, to);
    }
    text
}
