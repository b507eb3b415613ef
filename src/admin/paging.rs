//! Pages of feeds: how many lines one may have, and where the next one begins.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// Lines of a page: as the query says, or `usual`, and never more than `most`. `behind` names the setting behind that, if one is.
pub(super) fn limit(given: Option<&str>, usual: usize, most: usize, behind: &str) -> Result<usize, Problem> {
    match given.filter(|text| !text.is_empty()).map(str::parse) {
        None => Ok(usual.min(most)),
        Some(Ok(limit)) if (1..=most).contains(&limit) => Ok(limit),
        Some(_) => {
            let rule = format!("must be a whole number from 1 to {most}{behind}");
            Err(Problem::field("limit", rule).with("max", most))
        }
    }
}

/// What is behind the limit of most feeds.
pub(super) const BY_SETTING: &str = " (admin.page_rows_max)";

/// Lines of JSON as an answer; `next` is the path of the next page, and what its query says.
pub(super) fn ndjson(lines: impl Into<Body>, next: Option<(&str, &[(&str, String)])>) -> Response {
    let mut response = ([(header::CONTENT_TYPE, "application/x-ndjson")], lines.into()).into_response();
    let link = next.map(|(path, said)| {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(said).finish();
        HeaderValue::try_from(format!("<{path}?{query}>; rel=\"next\""))
    });
    if let Some(Ok(link)) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_as_many_lines_as_may_be() {
        let of = |given| limit(given, 100, 50, BY_SETTING).map_err(|problem| problem.detail().to_owned());
        assert_eq!((of(None), of(Some("")), of(Some("50"))), (Ok(50), Ok(50), Ok(50)));
        for wrong in ["0", "51", "x", "-1", "1.5"] {
            assert!(of(Some(wrong)).unwrap_err().contains("1 to 50 (admin.page_rows_max)"), "{wrong}");
        }
    }

    #[test]
    fn the_next_page_is_named_so_that_any_mark_survives() {
        let said = [("after", "2030-01-01T00:00:00.000Z&x".to_owned()), ("limit", "5".to_owned())];
        let response = ndjson("{}\n", Some(("/api/v1/x", &said)));
        assert_eq!(
            response.headers()[header::LINK],
            "</api/v1/x?after=2030-01-01T00%3A00%3A00.000Z%26x&limit=5>; rel=\"next\""
        );
        assert!(!ndjson("", None).headers().contains_key(header::LINK));
    }
}
