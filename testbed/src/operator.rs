//! An operator's browser without its window: who signed in at the console, and forms as a browser sends them.

use std::net::SocketAddr;

use crate::client::{Answer, request};

/// A token for engines whose console asks for one: the value of `ADMIN__TOKEN`.
pub const TOKEN: &str = "a-token-of-some-length";

/// Somebody who signed in.
#[derive(Debug)]
pub struct Operator {
    admin: SocketAddr,
    cookie: String,
}

impl Operator {
    /// Signs in with [`TOKEN`] at the console of the engine whose admin plane is here.
    ///
    /// # Panics
    /// It is not known there.
    pub fn sign_in(admin: SocketAddr) -> Self {
        let nobody = Self { admin, cookie: String::new() };
        let answer = nobody.submit("/sign-in", &format!("token={TOKEN}"));
        let cookie = answer.field("set-cookie").and_then(|cookie| cookie.split(';').next());
        let cookie = cookie.unwrap_or_else(|| panic!("{} {}", answer.status, answer.body)).to_owned();
        Self { admin, cookie }
    }

    /// Clicks on the button of a form. A form that did what it is for leads to another page.
    ///
    /// # Panics
    /// It did not.
    pub fn submit(&self, action: &str, fields: &str) -> Answer {
        let Self { admin, cookie } = self;
        let lines = format!(
            "Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nCookie: {cookie}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n"
        );
        let answer = request(*admin, "POST", action, &lines, fields);
        assert_eq!(answer.status, 303, "{action}: {}", answer.body);
        answer
    }
}
