//! Other people's programs, from PyPI: installed where they are missing, in the versions that a list names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The folder of the packages that `requirements`, a file of this folder, names.
pub fn packages(name: &str, requirements: &str) -> PathBuf {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|broken| broken.into_inner());
    let wanted = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi").join(requirements);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let installed = folder.join("requirements.txt");
    let text = fs::read_to_string(&wanted).expect("the list of packages");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == text) {
        return folder;
    }
    let _ = fs::remove_dir_all(&folder);
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--root-user-action", "ignore", "--target"])
        .arg(&folder)
        .arg("--requirement")
        .arg(&wanted);
    assert!(pip.status().expect("this test needs python3").success(), "{name} could not be installed");
    fs::write(installed, text).expect("a note of what is installed");
    folder
}
