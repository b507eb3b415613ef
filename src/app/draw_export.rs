//! What an engine exports of a waiting room: one object and three lists of lines.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::domain::{EpochMs, SaleKey};
use crate::settings::Secret;

/// How long a page may take.
const PAGE_WAIT_MAX: Duration = Duration::from_secs(60);

/// The texts, as they were exported.
#[derive(Debug, Default)]
pub(super) struct Export {
    /// How far the room has come, and under which terms.
    pub queue: String,
    /// Who registered when.
    pub registrations: String,
    /// How the marks moved.
    pub marks: String,
    /// The sale's orders.
    pub orders: String,
}

impl Export {
    /// Reads what was saved.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        Ok(Self {
            queue: read("queue.json")?,
            registrations: read("registrations.ndjson")?,
            marks: read("marks.ndjson")?,
            orders: read("orders.ndjson")?,
        })
    }

    /// Saves all of it, so that others can check it without asking an engine.
    pub fn save(&self, folder: &Path) -> Result<(), String> {
        let said = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        fs::create_dir_all(folder).map_err(|error| said(folder, error))?;
        let files = [
            ("queue.json", &self.queue),
            ("registrations.ndjson", &self.registrations),
            ("marks.ndjson", &self.marks),
            ("orders.ndjson", &self.orders),
        ];
        files.into_iter().try_for_each(|(name, text)| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| said(&path, error))
        })
    }

    /// Fetches all of it. The orders come before the marks, and the marks before the registrations: whatever is admitted by an
    /// order's time is in the lists then.
    pub fn fetch(admin: &str, token: &Secret, key: &SaleKey) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot ask: {error}"))?;
        let client = reqwest::Client::builder().timeout(PAGE_WAIT_MAX).build();
        let engine = Engine {
            client: client.map_err(|error| format!("cannot ask: {error}"))?,
            admin: admin.trim_end_matches('/'),
            token,
            tenant: key.tenant(),
        };
        let sale = format!("/api/v1/campaigns/{}/{}", key.campaign(), key.sku());
        let of_sale = format!("campaign={}&sku={}", key.campaign(), key.sku());
        runtime.block_on(async {
            Ok(Self {
                orders: engine.lines(format!("/api/v1/orders?{of_sale}")).await?,
                marks: engine.lines(format!("{sale}/marks")).await?,
                registrations: engine.lines(format!("{sale}/registrations")).await?,
                queue: engine.page(&format!("{sale}/queue")).await?.0,
            })
        })
    }
}

/// A time, as an export writes it.
///
/// # Errors
/// It is none.
pub(super) fn moment(text: &str) -> Result<EpochMs, String> {
    let at = text.parse::<jiff::Timestamp>().map_err(|error| format!("{text:?} is no time: {error}"))?;
    Ok(EpochMs(at.as_millisecond()))
}

/// 16 bytes, as an export writes them: in hexadecimal digits.
pub(super) fn bytes_of(text: &str) -> Option<[u8; 16]> {
    let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Some(bytes)
}

struct Engine<'a> {
    client: reqwest::Client,
    admin: &'a str,
    token: &'a Secret,
    tenant: &'a str,
}

impl Engine<'_> {
    /// All lines from this page on.
    async fn lines(&self, first: String) -> Result<String, String> {
        let (mut lines, mut path) = (String::new(), Some(first));
        while let Some(next) = path {
            let (page, link) = self.page(&next).await?;
            lines.push_str(&page);
            path = link.and_then(|link| next_page(&link)).filter(|_| !page.is_empty());
        }
        Ok(lines)
    }

    /// A page, and its `Link`.
    async fn page(&self, path: &str) -> Result<(String, Option<String>), String> {
        let url = format!("{}{path}", self.admin);
        let asked = async {
            let mut request = self.client.get(&url).header("X-Tenant-ID", self.tenant);
            if !self.token.is_empty() {
                request = request.bearer_auth(self.token.expose());
            }
            let answer = request.send().await?;
            let link = answer.headers().get("link").and_then(|link| link.to_str().ok()).map(str::to_owned);
            let status = answer.status();
            Ok::<_, reqwest::Error>((status, answer.text().await?, link))
        };
        let (status, text, link) = asked.await.map_err(|error| format!("{url}: {error}"))?;
        if status.is_success() { Ok((text, link)) } else { Err(format!("{url}: {status}: {text}")) }
    }
}

/// The path of the next page: `</path>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (path, rest) = link.strip_prefix('<')?.split_once('>')?;
    rest.contains("rel=\"next\"").then(|| path.to_owned())
}
