//! One configuration from four places, later ones over earlier ones: defaults, a TOML file, the environment, flags.
//!
//! Each component owns its section; [`Settings`] puts them together and checks what concerns more than one.
//! [`ConfigSource::load`] reads, [`Config::effective`] shows with origins, [`Reloader`] changes a running engine.

mod cli;
mod contradictions;
mod effective;
mod error;
mod flags;
mod origin;
mod reference;
mod reload;
mod secret_files;
mod sections;
mod settings;
mod source;

pub use cli::{Cli, Command, Plane};
pub use error::{ConfigError, Problem};
pub use origin::Origin;
pub use reference::reference;
pub use reload::{ReloadError, Reloader};
pub use sections::{AdmissionSettings, NodeSettings};
pub use settings::Settings;
pub use source::{Config, ConfigSource, ENV_PREFIX};
