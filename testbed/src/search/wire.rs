//! HTTP/1.1 as far as clients of search servers speak it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET` and so on.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// What stands behind `?`.
    pub query: String,
    headers: Vec<(String, String)>,
    /// As it was sent.
    pub body: String,
    /// The rule that it breaks, if it does.
    pub broken: Option<String>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// 0 closes the connection instead.
    pub status: u16,
    /// What it says; nothing for [`Value::Null`].
    pub body: Value,
    /// `Retry-After`, in seconds.
    pub retry_after_s: Option<u64>,
    /// The rule that the request breaks, if it does.
    pub broken: Option<String>,
}

impl Reply {
    /// With this status and body.
    pub const fn new(status: u16, body: Value) -> Self {
        Self { status, body, retry_after_s: None, broken: None }
    }

    /// None: the connection is closed.
    pub const fn closed() -> Self {
        Self::new(0, Value::Null)
    }

    /// The same to a request that breaks this rule.
    pub(super) fn breaking(self, rule: &str) -> Self {
        Self { broken: Some(rule.to_owned()), ..self }
    }
}

impl Request {
    /// A request that nobody sent.
    pub(super) fn of(method: &str, path: &str, content_type: &str, body: &str) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            query: String::new(),
            headers: vec![("content-type".into(), content_type.into())],
            body: body.into(),
            broken: None,
        }
    }

    /// A header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(is, _)| is == name).map(|(_, value)| value.as_str())
    }

    /// The parts of the path.
    pub(super) fn parts(&self) -> Vec<&str> {
        self.path.split('/').filter(|part| !part.is_empty()).collect()
    }

    /// The body, if it is JSON.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }
}

/// Answers the requests of a connection until one of both ends it.
pub(super) fn serve(stream: TcpStream, answer: impl Fn(Request) -> Reply) {
    let Ok(mut answers) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let Reply { status, body, retry_after_s, .. } = answer(request);
        if status == 0 {
            return;
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let retry = retry_after_s.map_or(String::new(), |after| format!("Retry-After: {after}\r\n"));
        let head = format!(
            "HTTP/1.1 {status} Told\r\nContent-Type: application/json\r\n{retry}Content-Length: {}\r\n\r\n",
            body.len()
        );
        if answers.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}

/// The next request; `None` when the connection is over.
fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(Some(0), |(_, length)| length.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).expect("UTF-8");
    Some(Request { method, path, query, headers, body, broken: None })
}
