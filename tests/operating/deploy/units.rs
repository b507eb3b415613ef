//! The unit of systemd, read by systemd.

use std::process::Command;

use testbed::servers::engine::binary;

use super::{content, text_of};

const UNIT: &str = "systemd/seckill.service";

#[test]
fn systemd_takes_the_unit_and_finds_little_to_attack() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("seckill.service");
    let installed = text_of(UNIT).replace("/usr/local/bin/seckill", binary().to_str().unwrap());
    std::fs::write(&unit, installed).unwrap();
    let said = content(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    let about_it: Vec<_> = said.lines().filter(|line| line.contains("seckill.service")).collect();
    assert!(about_it.is_empty(), "{about_it:?}");
    // The exposure that systemd computes, times ten: 0 is none, 100 all there is.
    let threshold = ["security", "--offline=true", "--threshold=20"];
    content(Command::new("systemd-analyze").args(threshold).arg(&unit));
}

#[test]
fn the_unit_leaves_the_engine_the_time_that_it_takes() {
    let unit = text_of(UNIT);
    let value = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    let stop_s: u64 = value("TimeoutStopSec").trim_end_matches('s').parse().unwrap();
    let settings = seckill::config::Settings::default();
    assert!(stop_s * 1_000 > settings.stop_ms_max, "killed before it has stopped");
    assert_eq!(value("Type"), "notify");
    let files: usize = value("LimitNOFILE").parse().unwrap();
    assert!(files > 2 * settings.edge.connections_max, "{files}");
    // What trying again does not mend.
    let fatal =
        [seckill::exit::Exit::Usage, seckill::exit::Exit::Config].map(|exit| (exit as u8).to_string());
    assert_eq!(value("RestartPreventExitStatus"), fatal.join(" "));
}
