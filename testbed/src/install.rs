//! What the tests and comparisons need and the machine lacks: packages of the distribution.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// A program that is started, where distributions put it, and the package that has it or is of no use without it.
pub struct Needed {
    program: &'static str,
    package: &'static str,
}

/// What the tests start.
pub const FOR_TESTS: [Needed; 15] = [
    Needed { program: "redis-server", package: "redis-server" },
    // Its programs are kept by version, and not on the path.
    Needed { program: "initdb", package: "postgresql" },
    Needed { program: "pgbouncer", package: "pgbouncer" },
    // Engines are restarted behind it.
    Needed { program: "haproxy", package: "haproxy" },
    // Sets the calendar of one process; its library is what the tests use.
    Needed { program: "faketime", package: "faketime" },
    // A proxy as many run it.
    Needed { program: "nginx", package: "nginx" },
    // A cache as many run it; it compiles its configuration.
    Needed { program: "varnishd", package: "varnish" },
    Needed { program: "gcc", package: "gcc" },
    // The lines of the README are run as they are pasted.
    Needed { program: "curl", package: "curl" },
    // The console is used with a real browser.
    Needed { program: "chromium", package: "chromium" },
    Needed { program: "chromedriver", package: "chromium-driver" },
    // Figures, rules and dashboard are read by the real one.
    Needed { program: "promtool", package: "prometheus" },
    // The unit is checked by who reads it.
    Needed { program: "systemd-analyze", package: "systemd" },
    // The load tester's files are read back, and the API is asked, by other people's programs.
    Needed { program: "python3", package: "python3" },
    Needed { program: "pip3", package: "python3-pip" },
];

/// What the comparisons put beside the engine.
pub const FOR_PEERS: [Needed; 6] = [
    Needed { program: "redis-server", package: "redis-server" },
    Needed { program: "nginx", package: "nginx" },
    Needed { program: "nginx", package: "libnginx-mod-http-lua" },
    Needed { program: "go", package: "golang-go" },
    Needed { program: "go", package: "golang-github-gin-gonic-gin-dev" },
    Needed { program: "go", package: "golang-github-gomodule-redigo-dev" },
];

/// What answers with fixed bytes beside the edge.
pub const FOR_EDGE: [Needed; 2] =
    [Needed { program: "nginx", package: "nginx" }, Needed { program: "h2o", package: "h2o" }];

/// Whom the load tester is compared with.
pub const FOR_TESTER: [Needed; 1] = [Needed { program: "h2load", package: "nghttp2-client" }];

/// Installs those that are missing.
///
/// # Errors
/// Something is missing afterwards.
pub fn install_missing(needed: &[Needed]) -> Result<(), String> {
    let missing: Vec<_> = needed.iter().filter(|needed| !present(needed.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|needed| needed.package).collect();
    eprintln!("xtask: installing {}", packages.join(" "));
    let apt = |arguments: &[&str]| {
        Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments).status()
    };
    // Packages of servers start them, on ports that somebody may want; the tests start their own.
    let quiet = QuietServices::ask();
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(&packages);
    let installed = apt(&["update", "-qq"]).and_then(|_| apt(&install)).is_ok_and(|status| status.success());
    drop(quiet);
    if !installed || missing.iter().any(|needed| !present(needed.program)) {
        return Err(format!("could not install {}; install them and try again", packages.join(" ")));
    }
    Ok(())
}

/// While it lives, packages that are installed start no service: what Debian asks before it does says no.
struct QuietServices;

impl QuietServices {
    const ASKED: &str = "/usr/sbin/policy-rc.d";

    /// `None` where an administrator has said something already, or this is no machine of ours to say something on.
    fn ask() -> Option<Self> {
        if Path::new(Self::ASKED).exists() {
            return None;
        }
        fs::write(Self::ASKED, "#!/bin/sh\nexit 101\n").ok()?;
        let quiet = Self;
        fs::set_permissions(Self::ASKED, fs::Permissions::from_mode(0o755)).ok()?;
        Some(quiet)
    }
}

impl Drop for QuietServices {
    fn drop(&mut self) {
        let _ = fs::remove_file(Self::ASKED);
    }
}

fn present(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .chain(versions.map(|version| version.path().join("bin")))
        .any(|folder| folder.join(program).is_file())
}
