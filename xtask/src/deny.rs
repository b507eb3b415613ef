//! `cargo xtask deny`: what may stand in the dependency tree.

use std::process::Command;

use crate::{Failure, cargo};

/// The version that CI was written for.
const VERSION: &str = "0.20.2";

/// Checks bans, licences and sources, for which nothing is fetched; and known advisories, if their database can be.
///
/// # Errors
/// Something stands in the tree that must not.
pub fn run() -> Result<(), Failure> {
    if !runs(&["deny", "--version"]) {
        // A debug build checks as well, and is built in a third of the time.
        cargo::run(&["install", "cargo-deny", "--version", VERSION, "--locked", "--debug"], &[])?;
    }
    cargo::run(&["deny", "--locked", "check", "bans", "licenses", "sources"], &[])?;
    if runs(&["deny", "--locked", "fetch", "db"]) {
        return cargo::run(&["deny", "--locked", "check", "--disable-fetch", "advisories"], &[]);
    }
    eprintln!(
        "xtask: ADVISORIES WERE NOT CHECKED: their database cannot be fetched from here. Only the advisories that \
         deny.toml lists under [bans] were; run `cargo xtask deny` where the database can be reached."
    );
    Ok(())
}

fn runs(words: &[&str]) -> bool {
    Command::new("cargo").args(words).output().is_ok_and(|output| output.status.success())
}
