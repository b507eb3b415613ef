//! Sessions of browsers: a cookie that says who signed in and until when, signed with a key made from that token.
//!
//! Nothing is kept for a session. Every engine that knows the token takes the cookie, so that any node's console serves
//! whoever signed in at another; a token that is taken away or exchanged ends its sessions everywhere. What is kept is who
//! signed out before the end, and at this engine only.

use std::collections::HashMap;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use rand::random;
use ring::hmac::{self, HMAC_SHA256, Key};

use super::caller::Caller;
use super::tokens::AdminTokens;
use crate::domain::EpochMs;
use crate::settings::Secret;

const COOKIE: &str = "seckill_session";
/// Sessions that ended before their time and are remembered. The one that would end first is forgotten for one more.
const ENDED_MAX: usize = 10_000;

/// The sessions of this engine.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// Ended before their time, with that time.
    ended: Mutex<HashMap<u64, EpochMs>>,
}

/// A cookie that was read. Whether it counts is another question.
struct Claimed<'a> {
    name: &'a str,
    until: EpochMs,
    number: u64,
    /// What is signed.
    text: &'a str,
    signature: Vec<u8>,
}

impl Sessions {
    /// Signs in whose token this is, for so long. The value of `Set-Cookie`.
    pub fn begin(
        &self,
        caller: &Caller,
        token: &str,
        now: EpochMs,
        session_s: u32,
        is_secure: bool,
    ) -> String {
        let until = now.plus_ms(i64::from(session_s) * 1_000);
        let text = format!("{}.{}.{:x}", URL_SAFE_NO_PAD.encode(&*caller.name), until.0, random::<u64>());
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key(&token.into()), text.as_bytes()));
        set_cookie(&format!("{text}.{signature}"), session_s, is_secure)
    }

    /// Who has signed in with the cookie of this request.
    pub fn caller(&self, headers: &HeaderMap, tokens: &AdminTokens, now: EpochMs) -> Option<Caller> {
        self.session(headers, tokens, now).map(|(_, caller)| caller)
    }

    /// The session of this request that counts, and whose it is.
    fn session<'a>(
        &self,
        headers: &'a HeaderMap,
        tokens: &AdminTokens,
        now: EpochMs,
    ) -> Option<(Claimed<'a>, Caller)> {
        let cookie = cookie(headers)?;
        let claimed = Claimed::read(cookie)?;
        let name = URL_SAFE_NO_PAD.decode(claimed.name).ok()?;
        let name = std::str::from_utf8(&name).ok()?;
        let is_over = claimed.until <= now || self.ended.lock().contains_key(&claimed.number);
        let caller = tokens.of_name(name, |token, caller| {
            let is_signed = hmac::verify(&key(token), claimed.text.as_bytes(), &claimed.signature).is_ok();
            (is_signed && !is_over).then(|| caller.clone())
        })?;
        Some((claimed, caller))
    }

    /// Signs out. The value of `Set-Cookie`. A session that does not count has no end to be remembered: anybody could
    /// make up so many of them that those who did sign out are forgotten.
    pub fn end(&self, headers: &HeaderMap, tokens: &AdminTokens, now: EpochMs, is_secure: bool) -> String {
        if let Some((Claimed { until, number, .. }, _)) = self.session(headers, tokens, now) {
            let mut ended = self.ended.lock();
            ended.retain(|_, until| *until > now);
            if ended.len() >= ENDED_MAX
                && let Some(first) = ended.iter().min_by_key(|(_, until)| **until).map(|(number, _)| *number)
            {
                ended.remove(&first);
            }
            ended.insert(number, until);
        }
        set_cookie("", 0, is_secure)
    }
}

impl<'a> Claimed<'a> {
    fn read(cookie: &'a str) -> Option<Self> {
        let (text, signature) = cookie.rsplit_once('.')?;
        let mut parts = text.split('.');
        let (name, until, number) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            name,
            until: EpochMs(until.parse().ok()?),
            number: u64::from_str_radix(number, 16).ok()?,
            text,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }
}

/// What signs the sessions of this token: whoever sees a cookie learns nothing of the token.
fn key(token: &Secret) -> Key {
    let label = hmac::sign(&Key::new(HMAC_SHA256, token.expose().as_bytes()), b"session of the console, 1");
    Key::new(HMAC_SHA256, label.as_ref())
}

/// The cookie of the request, if it has exactly one.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
    let mut ours = fields
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE);
    let (_, value) = ours.next()?;
    ours.next().is_none().then_some(value)
}

fn set_cookie(value: &str, seconds: u32, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::super::role::Role;
    use super::super::settings::AdminSettings;
    use super::super::token_settings::AdminToken;
    use super::*;

    const TOKEN: &str = "ada's-token-0123456789";
    const NOW: EpochMs = EpochMs(1_800_000_000_000);

    fn settings(token: &str) -> AdminSettings {
        let ada = AdminToken { name: "ada".into(), role: Role::Viewer, tenant: None, token: token.into() };
        AdminSettings { tokens: vec![ada], ..AdminSettings::default() }
    }

    fn with_cookie(set_cookie: &str) -> HeaderMap {
        let pair = set_cookie.split(';').next().unwrap();
        [(header::COOKIE, format!("other=1; {pair}").parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn a_session_ends_by_time_by_its_person_and_by_its_token() {
        let (sessions, tokens) = (Sessions::default(), AdminTokens::new(&settings(TOKEN)));
        let ada = tokens.caller(TOKEN.as_bytes()).unwrap();
        let headers = with_cookie(&sessions.begin(&ada, TOKEN, NOW, 60, false));
        assert_eq!(sessions.caller(&headers, &tokens, NOW), Some(ada.clone()));
        assert_eq!(Sessions::default().caller(&headers, &tokens, NOW), Some(ada.clone()), "another node");
        assert_eq!(sessions.caller(&headers, &tokens, NOW.plus_ms(59_999)), Some(ada));
        assert_eq!(sessions.caller(&headers, &tokens, NOW.plus_ms(60_000)), None);
        tokens.replace(&settings("another-token-0123456789"));
        assert_eq!(sessions.caller(&headers, &tokens, NOW), None);
        tokens.replace(&settings(TOKEN));
        assert!(sessions.caller(&headers, &tokens, NOW).is_some());
        assert!(sessions.end(&headers, &tokens, NOW, true).contains("Max-Age=0"));
        assert_eq!(sessions.caller(&headers, &tokens, NOW), None);
    }

    #[test]
    fn cookies_that_were_made_up_push_out_nobody_who_signed_out() {
        let (sessions, tokens) = (Sessions::default(), AdminTokens::new(&settings(TOKEN)));
        let ada = tokens.caller(TOKEN.as_bytes()).unwrap();
        let headers = with_cookie(&sessions.begin(&ada, TOKEN, NOW, 60, false));
        sessions.end(&headers, &tokens, NOW, false);
        for number in 0..=ENDED_MAX {
            let made_up = with_cookie(&format!("{COOKIE}=YWRh.{}.{number:x}.AA", i64::MAX));
            sessions.end(&made_up, &tokens, NOW, false);
        }
        assert_eq!(sessions.caller(&headers, &tokens, NOW), None, "its copy does not count again");
        assert_eq!(sessions.ended.lock().len(), 1);
    }

    #[test]
    fn a_cookie_cannot_be_made_or_changed() {
        let (sessions, tokens) = (Sessions::default(), AdminTokens::new(&settings(TOKEN)));
        let ada = tokens.caller(TOKEN.as_bytes()).unwrap();
        let cookie = sessions.begin(&ada, TOKEN, NOW, 60, false);
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        let value = cookie.split([';', '=']).nth(1).unwrap().to_owned();
        for place in 0..value.len() {
            let mut changed = value.clone().into_bytes();
            changed[place] = if changed[place] == b'1' { b'2' } else { b'1' };
            let changed = format!("{COOKIE}={}", String::from_utf8(changed).unwrap());
            // The last letter of a signature has bits that mean nothing, and the decoder refuses those.
            assert_eq!(sessions.caller(&with_cookie(&changed), &tokens, NOW), None, "{changed}");
        }
        for other in ["", "a.b.c.d", "...", "YWRh.1.1.", &value[1..]] {
            assert_eq!(sessions.caller(&with_cookie(&format!("{COOKIE}={other}")), &tokens, NOW), None);
        }
    }
}
