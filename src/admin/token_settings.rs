//! What can be set about named tokens.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::role::Role;
use crate::domain::{FieldError, InvalidId, SaleKey};
use crate::settings::Secret;

/// The name that goes with `admin.token`.
pub(super) const ADMIN_NAME: &str = "admin";
/// The name of whoever can reach the loopback address of an engine without a token.
pub(super) const LOCAL_NAME: &str = "local";
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 64;
/// Tokens that may be listed: each request compares itself with all.
const TOKENS_MAX: usize = 256;

/// One of `[[admin.tokens]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdminToken {
    /// The name under which the trail keeps what is done with it.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The only tenant whose sales and orders it shows and changes; without one, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What a request carries as `Authorization: Bearer`, or a person enters at the sign-in.
    pub token: Secret,
}

/// Refuses tokens that could be guessed or mistaken for each other, and names that the trail could not tell apart.
///
/// # Errors
/// Says which one.
pub(super) fn check(tokens: &[AdminToken], others: [&Secret; 2]) -> Result<(), FieldError> {
    let wrong = |problem: String| Err(FieldError { field: "tokens", problem });
    if tokens.len() > TOKENS_MAX {
        return wrong(format!("lists {} tokens; at most {TOKENS_MAX} can be", tokens.len()));
    }
    let mut names = HashSet::from([ADMIN_NAME, LOCAL_NAME]);
    let mut secrets: HashSet<&str> = others.into_iter().map(Secret::expose).collect();
    for AdminToken { name, tenant, token, .. } in tokens {
        let is_usable = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@+".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_usable) {
            return wrong(format!(
                "has the name {name:?}; a name is 1 to {NAME_BYTES_MAX} letters, digits and any of - _ . @ +"
            ));
        }
        if !names.insert(name) {
            return wrong(format!("has the name {name:?} twice, or it is one of the engine's own"));
        }
        if let Some(Err(InvalidId(rule))) = tenant.as_deref().map(SaleKey::check_part) {
            return wrong(format!("has a tenant at {name:?} that {rule}"));
        }
        if token.is_empty() {
            return wrong(format!("has no token at {name:?}; set token or token_file"));
        }
        if let Err(FieldError { problem, .. }) = token.check_travelling("tokens") {
            return wrong(format!("has a token at {name:?} that {problem}"));
        }
        if !secrets.insert(token.expose()) {
            return wrong(format!("has a token at {name:?} that is another's as well"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, token: &str) -> AdminToken {
        AdminToken { name: name.into(), role: Role::Viewer, tenant: None, token: token.into() }
    }

    fn problem(tokens: &[AdminToken]) -> String {
        check(tokens, [&"the-admins-own-token".into(), &Secret::default()]).unwrap_err().problem
    }

    #[test]
    fn names_and_tokens_cannot_be_mistaken() {
        let (ada, bob) = (token("ada", "0123456789abcdef-a"), token("bob", "0123456789abcdef-b"));
        assert_eq!(check(&[ada.clone(), bob.clone()], [&Secret::default(), &Secret::default()]), Ok(()));
        for (tokens, said) in [
            (vec![ada.clone(), token("ada", "0123456789abcdef-c")], "twice"),
            (vec![token("admin", "0123456789abcdef-c")], "engine's own"),
            (vec![ada.clone(), token("eve", "0123456789abcdef-a")], "another's"),
            (vec![token("eve", "the-admins-own-token")], "another's"),
            (vec![token("eve", "short")], "could be guessed"),
            (vec![token("eve", "")], "no token"),
            (vec![token("a b", "0123456789abcdef-c")], "letters"),
            (vec![token("", "0123456789abcdef-c")], "letters"),
            (vec![AdminToken { tenant: Some("a/b".into()), ..bob }], "tenant"),
        ] {
            let problem = problem(&tokens);
            assert!(problem.contains(said), "{tokens:?}: {problem}");
        }
    }
}
