//! Where a value comes from, in words and as figment keeps it.

use std::fmt;
use std::path::PathBuf;

use figment::Metadata;

use super::flags::flag_named;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable, by name.
    Env(String),
    /// A flag, as on the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

impl Origin {
    /// The origin that [`Origin::metadata`] has named.
    pub(super) fn of(metadata: &Metadata) -> Option<Self> {
        let custom = || metadata.source.as_ref()?.custom();
        Some(match &*metadata.name {
            "default" => Self::Default,
            "file" => Self::File(metadata.source.as_ref()?.file_path()?.to_owned()),
            "env" => Self::Env(custom()?.to_owned()),
            "flag" => Self::Flag(flag_named(custom()?)?),
            _ => return None,
        })
    }

    /// As figment keeps it with each value.
    pub(super) fn metadata(&self) -> Metadata {
        match self {
            Self::Default => Metadata::named("default"),
            Self::File(path) => Metadata::from("file", path.as_path()),
            Self::Env(name) => Metadata::from("env", name.as_str()),
            Self::Flag(flag) => Metadata::from("flag", *flag),
        }
    }
}
