//! `cargo xtask sbom`: what the engine is built of, for who has to answer for it: a bill of materials (CycloneDX) and the
//! licence texts of all that is in it.

mod licences;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs;
use std::path::PathBuf;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Node, Package, PackageId};
use clap::Args;
use serde_json::{Value, json};

use crate::Failure;

/// The package that is delivered.
const DELIVERED: &str = "seckill";
/// The version of CycloneDX that is written.
const SPEC_VERSION: &str = "1.6";
/// The two files.
const BILL: &str = "seckill.cdx.json";
const LICENCES: &str = "THIRD-PARTY-LICENCES.txt";

#[derive(Debug, Args)]
pub struct Options {
    /// The folder of the two files
    #[arg(long, default_value = "target/sbom")]
    out: PathBuf,
    /// The machine that it is built for [default: this one]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
}

/// Writes both files. The same sources make the same files.
///
/// # Errors
/// Cargo does not tell, or the folder cannot be written to.
pub fn run(options: &Options) -> Result<(), Failure> {
    let target = match &options.target {
        Some(target) => target.clone(),
        None => host()?,
    };
    let filter = ["--locked", "--filter-platform", &target].map(str::to_owned).to_vec();
    let metadata = MetadataCommand::new().other_options(filter).exec()?;
    let tree = Tree::of(&metadata)?;
    let lock = fs::read_to_string(metadata.workspace_root.join("Cargo.lock"))?;
    fs::create_dir_all(&options.out)?;
    let bill = serde_json::to_string_pretty(&tree.bill(&checksums(&lock)))?;
    fs::write(options.out.join(BILL), bill + "\n")?;
    let texts = licences::page(tree.parts.values().filter(|part| part.is_inside).map(|part| part.package))?;
    fs::write(options.out.join(LICENCES), texts)?;
    eprintln!(
        "xtask: {} parts; {} and {} are in {}",
        tree.parts.len(),
        BILL,
        LICENCES,
        options.out.display()
    );
    Ok(())
}

/// The machine that this toolchain builds for.
fn host() -> Result<String, Failure> {
    let told = std::process::Command::new("rustc").arg("-vV").output()?;
    let told = String::from_utf8(told.stdout)?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc does not say what it builds for")?.to_owned())
}

/// A package that is needed to build what is delivered.
struct Part<'a> {
    package: &'a Package,
    node: &'a Node,
    /// Whether it is in what is delivered, and not only needed while that is built.
    is_inside: bool,
}

/// What is delivered, and all that it needs, by name and version.
struct Tree<'a> {
    root: &'a Package,
    root_node: &'a Node,
    parts: BTreeMap<String, Part<'a>>,
    urls: HashMap<&'a PackageId, String>,
}

impl<'a> Tree<'a> {
    fn of(metadata: &'a Metadata) -> Result<Self, Failure> {
        let packages: HashMap<_, _> =
            metadata.packages.iter().map(|package| (&package.id, package)).collect();
        let nodes = &metadata.resolve.as_ref().ok_or("cargo tells no dependencies")?.nodes;
        let nodes: HashMap<_, _> = nodes.iter().map(|node| (&node.id, node)).collect();
        let root = metadata.packages.iter().find(|package| package.name.as_str() == DELIVERED);
        let root = root.ok_or("the workspace has no such package")?;
        // First along what is built in, so that whatever is reached in that way is known as such.
        let inside = reached(&root.id, &nodes, |kind| kind == DependencyKind::Normal);
        let all = reached(&root.id, &nodes, |kind| kind != DependencyKind::Development);
        let parts = all.iter().filter(|id| **id != &root.id).map(|id| {
            let part = Part { package: packages[id], node: nodes[id], is_inside: inside.contains(id) };
            (url(part.package), part)
        });
        let urls = all.iter().map(|id| (*id, url(packages[id]))).collect();
        Ok(Self { root, root_node: nodes[&root.id], parts: parts.collect(), urls })
    }

    fn bill(&self, checksums: &BTreeMap<(String, String), String>) -> Value {
        let component = |part: &Part<'_>| {
            let mut component = described(part.package, "library");
            component["scope"] = if part.is_inside { "required" } else { "excluded" }.into();
            let key = (part.package.name.to_string(), part.package.version.to_string());
            if let Some(checksum) = checksums.get(&key) {
                component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
            }
            if let Some(repository) = &part.package.repository {
                component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
            }
            component
        };
        let needs = |package: &Package, node: &Node| {
            let needed = node.deps.iter().filter_map(|dep| self.urls.get(&dep.pkg));
            json!({ "ref": url(package), "dependsOn": needed.collect::<BTreeSet<_>>() })
        };
        let rest = self.parts.values().map(|part| needs(part.package, part.node));
        json!({
            "bomFormat": "CycloneDX",
            "specVersion": SPEC_VERSION,
            "version": 1,
            "metadata": { "component": described(self.root, "application") },
            "components": self.parts.values().map(component).collect::<Vec<_>>(),
            "dependencies": std::iter::once(needs(self.root, self.root_node)).chain(rest).collect::<Vec<_>>(),
        })
    }
}

/// The packages that are reached from one along dependencies of these kinds.
fn reached<'a>(
    from: &'a PackageId,
    nodes: &HashMap<&'a PackageId, &'a Node>,
    follows: impl Fn(DependencyKind) -> bool,
) -> BTreeSet<&'a PackageId> {
    let (mut seen, mut next) = (BTreeSet::from([from]), VecDeque::from([from]));
    while let Some(node) = next.pop_front().and_then(|id| nodes.get(id)) {
        let followed = node.deps.iter().filter(|dep| dep.dep_kinds.iter().any(|kind| follows(kind.kind)));
        next.extend(followed.map(|dep| &dep.pkg).filter(|id| seen.insert(*id)));
    }
    seen
}

/// The package URL.
fn url(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

fn described(package: &Package, kind: &str) -> Value {
    let url = url(package);
    let mut component = json!({
        "type": kind,
        "bom-ref": url,
        "name": package.name.to_string(),
        "version": package.version.to_string(),
        "purl": url,
    });
    if let Some(licence) = licences::expression(package) {
        component["licenses"] = json!([{ "expression": licence }]);
    }
    component
}

/// The checksums of a lock file, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let entries = lock.split("[[package]]").skip(1);
    let of_entry = |entry: &str| {
        let value = |key: &str| {
            let line = entry.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
            Some(line?.trim_end_matches('"').to_owned())
        };
        Some(((value("name")?, value("version")?), value("checksum")?))
    };
    entries.filter_map(of_entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_lock_file() {
        let lock = "version = 4\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"itoa\"\n\
                    version = \"1.0.15\"\nsource = \"registry\"\nchecksum = \"abc\"\n";
        let expected = [(("itoa".to_owned(), "1.0.15".to_owned()), "abc".to_owned())];
        assert_eq!(checksums(lock), expected.into());
    }
}
