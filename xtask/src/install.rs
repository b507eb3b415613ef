//! What the tests need and the machine lacks: packages of the distribution.

use std::process::Command;

/// A program that tests start, where distributions put it, and the package that has it.
struct Needed {
    program: &'static str,
    package: &'static str,
}

const NEEDED: [Needed; 2] = [
    Needed { program: "redis-server", package: "redis-server" },
    // Its programs are kept by version, and not on the path.
    Needed { program: "initdb", package: "postgresql" },
];

/// Installs what is missing. `false` when something is missing afterwards.
pub fn install_missing() -> bool {
    let missing: Vec<_> = NEEDED.iter().filter(|needed| !present(needed.program)).collect();
    if missing.is_empty() {
        return true;
    }
    let packages: Vec<_> = missing.iter().map(|needed| needed.package).collect();
    eprintln!("xtask: installing {}", packages.join(" "));
    let apt = |arguments: &[&str]| {
        Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments).status()
    };
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(&packages);
    let installed = apt(&["update", "-qq"]).and_then(|_| apt(&install)).is_ok_and(|status| status.success());
    if !installed || missing.iter().any(|needed| !present(needed.program)) {
        eprintln!("xtask: could not install {}; install them and try again", packages.join(" "));
        return false;
    }
    true
}

fn present(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .chain(versions.map(|version| version.path().join("bin")))
        .any(|folder| folder.join(program).is_file())
}
