//! Folders of runs, each of which begins with an empty one.

use std::fs;
use std::io;
use std::path::Path;

/// Makes the folder, and removes first what is there.
///
/// # Errors
/// What the system says.
pub fn folder(path: &Path) -> io::Result<()> {
    if fs::exists(path)? {
        fs::remove_dir_all(path)?;
    }
    fs::create_dir_all(path)
}
