//! Under which licences the packages are given, and their texts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use cargo_metadata::Package;

use crate::Failure;

/// How the names of files with licences and notices begin.
const BEGINNINGS: [&str; 6] = ["licen", "copying", "notice", "unlicense", "copyright", "third-party"];

/// The licence as an expression of SPDX; older packages have a slash for "or".
pub fn expression(package: &Package) -> Option<String> {
    package.license.as_ref().map(|licence| licence.replace('/', " OR "))
}

/// A page of all packages with their licences, then every text once, under the packages that it came with.
///
/// # Errors
/// A file cannot be read.
pub fn page<'a>(packages: impl Iterator<Item = &'a Package>) -> Result<String, Failure> {
    let mut page =
        "The engine contains the packages below, each under its own licence. The texts follow.\n\n"
            .to_owned();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages {
        let name = format!("{} {}", package.name, package.version);
        let _ = writeln!(page, "{name}: {}", expression(package).as_deref().unwrap_or("see its texts"));
        let folder = package.manifest_path.parent().ok_or("a package without a folder")?;
        for entry in fs::read_dir(folder)? {
            let (entry, is_file) =
                entry.and_then(|entry| entry.file_type().map(|kind| (entry, kind.is_file())))?;
            let file = entry.file_name().to_string_lossy().to_lowercase();
            if is_file && BEGINNINGS.iter().any(|begin| file.starts_with(begin)) {
                let text = String::from_utf8_lossy(&fs::read(entry.path())?).replace("\r\n", "\n");
                texts.entry(text.trim().to_owned()).or_default().insert(name.clone());
            }
        }
    }
    for (text, names) in texts {
        let names: Vec<_> = names.into_iter().collect();
        let _ = write!(page, "\n{}\n{}\n\n{text}\n", "=".repeat(80), names.join(", "));
    }
    Ok(page)
}
