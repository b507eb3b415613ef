//! `seckill verify-draw`: fetches what an engine exports of a sale's waiting room, or reads it from a folder, and checks it: the
//! seed against what was committed to, the marks against the registrations, and every order against the marks. It believes
//! nothing that it can compute.

use std::path::PathBuf;

use super::draw_check;
use super::draw_export::Export;
use crate::config::Settings;
use crate::domain::SaleKey;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// Where what is checked comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A running engine.
    Engine {
        /// Its admin address, such as `http://127.0.0.1:9090`.
        admin: String,
        /// The sale: campaign and SKU, with a slash between them.
        sale: String,
        /// Whose sale it is.
        tenant: String,
        /// Where to keep what was fetched.
        save: Option<PathBuf>,
    },
    /// A folder that was saved before.
    Folder(PathBuf),
}

/// Checks the draw and prints what it finds.
///
/// # Errors
/// Something is not as it should be ([`Exit::No`]), or what is to be checked cannot be read.
pub fn verify(settings: &Settings, source: Source) -> Result<(), Failure> {
    let unavailable = |problem: String| Failure::new(Exit::Unavailable, problem);
    let export = match source {
        Source::Folder(folder) => Export::read(&folder).map_err(unavailable)?,
        Source::Engine { admin, sale, tenant, save } => {
            let (campaign, sku) = sale.split_once('/').unwrap_or((sale.as_str(), ""));
            let key = SaleKey::new(&tenant, campaign, sku);
            let key = key.map_err(|rule| {
                Failure::new(Exit::Usage, format_args!("{sale:?} is no CAMPAIGN/SKU: each part {rule}"))
            })?;
            let export = Export::fetch(&admin, &settings.admin.token, &key).map_err(unavailable)?;
            if let Some(folder) = save {
                export.save(&folder).map_err(|problem| Failure::new(Exit::Io, problem))?;
            }
            export
        }
    };
    let report = draw_check::check(&export).map_err(unavailable)?;
    terminal::print(&report.text)
        .map_err(|error| Failure::new(Exit::Io, format_args!("cannot print what was found: {error}")))?;
    if report.is_in_order { Ok(()) } else { Err(Failure::new(Exit::No, "not every admission was in order")) }
}
