//! The data folder: owned by one engine, and closed to other users.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::store::StoreError;

/// For the owner alone.
const FILE_MODE: u32 = 0o600;

/// Makes the folder if there is none, and takes the lock on it.
///
/// # Errors
/// Another engine has the lock, or the system does not let us.
pub(super) fn lock_folder(folder: &Path) -> Result<File, StoreError> {
    let failed =
        |what: String, error: io::Error| StoreError::fatal(format!("{what}: {error}")).caused_by(error);
    // Who buys what is nobody's business but its owner's: a folder that is made here is for one user.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| failed(format!("the data folder {} cannot be made", folder.display()), error))?;
    let path: PathBuf = folder.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(FILE_MODE)
        .open(&path)
        .map_err(|error| failed(format!("{} cannot be opened", path.display()), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::fatal(format!(
            "another engine runs on the data in {}; stop it, or give this one a folder of its own with --data-dir",
            folder.display()
        ))),
        Err(TryLockError::Error(error)) => Err(failed(format!("{} cannot be locked", path.display()), error)),
    }
}

/// Makes the database for its owner alone before SQLite would make it for everybody; its log and its index get the
/// mode that it has. Files of older engines, which were readable by others, are closed to them.
pub(super) fn keep_private(database: &Path) -> Result<(), StoreError> {
    let fatal = |path: &Path, error: io::Error| {
        let message = format!("{} cannot be kept from other users: {error}", path.display());
        StoreError::fatal(message).caused_by(error)
    };
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(FILE_MODE)
        .open(database)
        .map_err(|error| fatal(database, error))?;
    for suffix in ["", "-wal", "-shm"] {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        let path = PathBuf::from(path);
        match std::fs::metadata(&path) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                std::fs::set_permissions(&path, Permissions::from_mode(FILE_MODE))
                    .map_err(|error| fatal(&path, error))?;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fatal(&path, error)),
        }
    }
    Ok(())
}
