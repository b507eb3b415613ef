//! The scenarios that come with the tester, and a hint for whoever misspells their names.

/// What `loadtest quick` runs.
pub const QUICK: &str = include_str!("../scenarios/quick.toml");

/// The scenarios that come with the tester: name and text.
pub const BUNDLED: [(&str, &str); 8] = [
    ("seckill", include_str!("../scenarios/seckill.toml")),
    ("order", include_str!("../scenarios/order.toml")),
    ("checkout", include_str!("../scenarios/checkout.toml")),
    ("sale", include_str!("../scenarios/sale.toml")),
    ("room", include_str!("../scenarios/room.toml")),
    ("churn", include_str!("../scenarios/churn.toml")),
    ("seed", include_str!("../scenarios/seed.toml")),
    ("quick", QUICK),
];

/// The names of the bundled scenarios.
pub fn names() -> String {
    BUNDLED.map(|(name, _)| name).join(", ")
}

/// The text of a bundled scenario.
pub fn text(name: &str) -> Option<&'static str> {
    BUNDLED.iter().find(|(bundled, _)| *bundled == name).map(|(_, text)| *text)
}

/// A hint at the bundled scenario whose name is nearest, if one is near.
pub fn meant(name: &str) -> String {
    let near = BUNDLED.iter().map(|(known, _)| (edits(name, known), known)).min();
    match near {
        Some((edits, known)) if edits <= known.len().min(name.len()) / 2 => {
            format!(" (did you mean {known}?)")
        }
        _ => String::new(),
    }
}

/// How many letters must be added, taken away or exchanged to make one word of the other.
fn edits(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.bytes().enumerate() {
            let exchanged = before + usize::from(a != b);
            before = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(before + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn the_nearest_name_is_meant_if_one_is_near() {
        assert_eq!(meant("sekill"), " (did you mean seckill?)");
        assert_eq!(meant("chekout"), " (did you mean checkout?)");
        assert_eq!(meant("xyz"), "");
        assert_eq!((edits("", "abc"), edits("abc", "abc"), edits("abd", "abc")), (3, 0, 1));
    }

    #[test]
    fn l7_a_misspelt_scenario_names_what_there_is() {
        for (name, hint) in [
            ("sekill", "did you mean seckill?"),
            ("chekout", "did you mean checkout?"),
            ("xyz", "bundled are"),
        ] {
            let error = Scenario::load(name, &[]).unwrap_err().to_string();
            assert!(error.contains(hint) && error.contains("seckill, order, checkout"), "{error}");
        }
    }
}
