//! Times as the API writes them, for a page that a person reads.

/// `2030-01-31T12:00:00.000Z` without what nobody reads: `2030-01-31 12:00:00 UTC`. Anything else as it is.
pub(super) fn in_words(rfc3339: &str) -> String {
    match (rfc3339.get(..10), rfc3339.get(11..19)) {
        (Some(day), Some(time)) if rfc3339.ends_with('Z') => format!("{day} {time} UTC"),
        _ => rfc3339.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_by_people() {
        assert_eq!(in_words("2030-01-31T12:00:00.000Z"), "2030-01-31 12:00:00 UTC");
        assert_eq!((in_words(""), in_words("soon")), (String::new(), "soon".into()));
    }
}
