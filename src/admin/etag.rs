//! The versions of a sale as entity tags (RFC 9110): `ETag` names the one that is shown, `If-Match` those that a change
//! may be made from.

use axum::http::{HeaderMap, header};

use crate::domain::{Sale, SaleId};

/// The name of a sale's version: another sale under the same name never has it.
pub(super) fn etag(sale: &Sale) -> String {
    format!("\"{}-{}\"", sale.id.0, sale.version)
}

/// `If-Match` is neither `*` nor a list of entity tags.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotEntityTags;

/// The versions of the sale that a change may be made from; `None` when it fits any.
///
/// # Errors
/// Who wrote the header field did not read one of ours.
pub(super) fn versions(headers: &HeaderMap, sale: SaleId) -> Result<Option<Vec<u64>>, NotEntityTags> {
    let mut versions = None;
    for field in headers.get_all(header::IF_MATCH) {
        let field = field.to_str().map_err(|_| NotEntityTags)?;
        if field.trim() == "*" {
            return Ok(None);
        }
        let known: &mut Vec<u64> = versions.get_or_insert_default();
        for tag in field.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            let strong = tag.strip_prefix("W/").unwrap_or(tag);
            let inner =
                strong.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).ok_or(NotEntityTags)?;
            // A weak tag, or one of another sale, is well-formed and fits nothing.
            let (id, version) = inner.split_once('-').unwrap_or_default();
            if strong == tag && id.parse() == Ok(sale.0) {
                known.extend(version.parse::<u64>());
            }
        }
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_that_a_change_may_be_made_from() {
        let named = |value: &str| {
            let headers = HeaderMap::from_iter([(header::IF_MATCH, value.parse().unwrap())]);
            versions(&headers, SaleId(7))
        };
        assert_eq!(versions(&HeaderMap::new(), SaleId(7)).unwrap(), None);
        assert_eq!(named("*"), Ok(None));
        assert_eq!(named("\"7-3\""), Ok(Some(vec![3])));
        assert_eq!(named("\"7-3\" , \"7-12\""), Ok(Some(vec![3, 12])));
        assert_eq!(named("W/\"7-3\", \"8-3\", \"x\""), Ok(Some(vec![])), "none of them can fit");
        assert_eq!(named("7-3"), Err(NotEntityTags));
    }
}
