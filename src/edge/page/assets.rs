//! The style and the scripts of the page. Their names hold what is in them, so that a browser keeps them for ever.

use std::sync::LazyLock;

use http::{HeaderValue, StatusCode};

use super::super::reply::{Content, Keep, Reply};
use crate::openapi::fingerprint;
use crate::telemetry::Outcome;

/// What a page is made of, beside itself.
pub(super) struct Asset {
    content: Content,
    text: &'static str,
    name: LazyLock<String>,
}

/// The style.
pub(super) static STYLE: Asset = Asset {
    content: Content::Css,
    text: include_str!("page.css"),
    name: LazyLock::new(|| named(include_str!("page.css"), "css")),
};

/// The scripts, in the order in which they run: each stands on those before it.
pub(super) static SCRIPTS: [Asset; 2] = [
    Asset {
        content: Content::Script,
        text: include_str!("client.js"),
        name: LazyLock::new(|| named(include_str!("client.js"), "js")),
    },
    Asset {
        content: Content::Script,
        text: include_str!("page.js"),
        name: LazyLock::new(|| named(include_str!("page.js"), "js")),
    },
];

fn named(text: &str, ending: &str) -> String {
    format!("{}.{ending}", fingerprint(text))
}

impl Asset {
    /// The last part of its address.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The asset with this name; `None` for any other, such as one of another version.
pub(super) fn reply(name: &str) -> Option<Reply> {
    let asset = SCRIPTS.iter().chain([&STYLE]).find(|asset| asset.name() == name)?;
    let cache_control = HeaderValue::from_static("public, max-age=31536000, immutable");
    let reply = Reply::of(asset.content, StatusCode::OK, Outcome::Served, asset.text);
    Some(reply.kept(Keep::Public { cache_control, vary: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_what_is_in_it() {
        assert_ne!(named("a", "js"), named("b", "js"));
        for script in &SCRIPTS {
            let served = reply(script.name()).unwrap();
            assert_eq!((served.content, served.keep.is_public()), (Content::Script, true));
            assert_eq!(served.body, script.text.as_bytes());
        }
        assert!(reply("page.js").is_none() && reply("").is_none());
    }
}
