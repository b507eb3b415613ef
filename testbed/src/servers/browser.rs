//! A real browser without a window, driven by the WebDriver protocol (W3C WebDriver).

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{kill, spawn};
use crate::client::request;
use crate::{LOOK_PAUSE, PATIENCE, until};

/// The name under which an answer refers to an element, by the standard.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// So often a driver is started until one listens.
const DRIVER_STARTS_MAX: usize = 5;

/// The accessibility checker, as it is published: `testbed/vendor` has its licence (MPL-2.0).
const AXE: &str = include_str!("../../vendor/axe-core-4.14.1/axe.min.js");

/// The keys that go to the next thing, and that press it.
pub const TAB: char = '\u{e004}';
/// See [`TAB`].
pub const ENTER: char = '\u{e007}';

/// A browser with one page; dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Opens one whose window is so wide, in CSS pixels.
    ///
    /// # Panics
    /// It does not start.
    pub fn open(width: u32) -> Self {
        Self::open_with(width, &json!({}))
    }

    /// The same, with a person who lets no page run scripts.
    ///
    /// # Panics
    /// It does not start.
    pub fn open_without_scripts(width: u32) -> Self {
        Self::open_with(width, &json!({ "profile.managed_default_content_settings.javascript": 2 }))
    }

    fn open_with(width: u32, preferences: &Value) -> Self {
        let profile = TempDir::new().expect("a folder for the browser");
        // It wants a port that is free for IPv4 and IPv6, finds it for the one, and ends if it is taken for the other.
        let (driver, port) = (0..DRIVER_STARTS_MAX)
            .find_map(|_| start_driver())
            .expect("chromedriver does not start; is it installed? `cargo xtask test` installs it");
        let mut browser = Self {
            driver,
            address: ([127, 0, 0, 1], port).into(),
            session: String::new(),
            _profile: profile,
        };
        let folder = browser._profile.path().display();
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-quic".into(),
            "--disable-dev-shm-usage".into(),
            "--no-first-run".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            format!("--user-data-dir={folder}"),
        ];
        let options = json!({ "args": arguments, "prefs": preferences });
        let wanted = json!({ "capabilities": { "alwaysMatch": { "browserName": "chrome", "goog:chromeOptions": options } } });
        let session = browser.call("POST", "/session", &wanted);
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        browser.resize(width);
        browser
    }

    /// Makes the window so wide, in CSS pixels; the page stays.
    pub fn resize(&self, width: u32) {
        self.tell("/window/rect", &json!({ "width": width, "height": 900 }));
        // The smallest window is wider than a telephone; what the page sees is set apart.
        let sizes = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &sizes);
    }

    /// Goes to an address.
    pub fn go(&self, url: &str) {
        self.tell("/url", &json!({ "url": url }));
    }

    /// The address that is shown.
    pub fn url(&self) -> String {
        self.call("GET", &self.path("/url"), &Value::Null).as_str().expect("an address").to_owned()
    }

    /// How many elements the selector finds.
    pub fn count(&self, css: &str) -> usize {
        self.found(css).len()
    }

    /// What a person reads in the first element that the selector finds; nothing when there is none, or while the page
    /// renews itself.
    pub fn text(&self, css: &str) -> String {
        let script = format!("const e = document.querySelector({css:?}); return e ? e.innerText : ''");
        self.seen(&script).and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Waits until that text fits.
    ///
    /// # Panics
    /// It never does; what the whole page says then is told.
    #[track_caller]
    pub fn wait_for(&self, css: &str, fits: impl Fn(&str) -> bool) {
        let began = Instant::now();
        while !fits(&self.text(css)) {
            assert!(
                began.elapsed() < PATIENCE,
                "{css} never says so on a page that says: {}",
                self.text("body")
            );
            std::thread::sleep(LOOK_PAUSE);
        }
    }

    /// Clicks on the first element that the selector finds.
    ///
    /// # Panics
    /// There never is one, or something lies above it.
    pub fn click(&self, css: &str) {
        self.do_to(css, "click", &json!({}));
    }

    /// Writes into a field, in place of what is there.
    pub fn fill(&self, css: &str, text: &str) {
        self.do_to(css, "clear", &json!({}));
        self.do_to(css, "value", &json!({ "text": text }));
    }

    /// Presses a key and lets it go, on whatever has the focus. Keys that write nothing have code points of the standard's own.
    pub fn press(&self, key: char) {
        let key = key.to_string();
        let strokes = [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.tell("/actions", &json!({ "actions": [keyboard] }));
    }

    /// What a script answers.
    pub fn script(&self, script: &str) -> Value {
        self.try_script(script).unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// The same of a script that only looks; `None` while the page renews itself.
    fn seen(&self, script: &str) -> Option<Value> {
        match self.try_script(script) {
            Ok(seen) => Some(seen),
            Err(error) if is_of_a_page_that_went(&error) => None,
            Err(error) => panic!("{script}: {error}"),
        }
    }

    fn try_script(&self, script: &str) -> Result<Value, Value> {
        let body = json!({ "script": script, "args": [] });
        self.try_call("POST", &self.path("/execute/sync"), &body)
    }

    /// Forgets a cookie that the page shown now would bring along.
    pub fn forget_cookie(&self, name: &str) {
        self.call("DELETE", &self.path(&format!("/cookie/{name}")), &Value::Null);
    }

    /// Has pages be shown as to who prefers it dark.
    pub fn prefer_dark(&self) {
        self.prefer("dark");
    }

    /// Has pages be shown as to who prefers it light, as at the beginning.
    pub fn prefer_light(&self) {
        self.prefer("light");
    }

    fn prefer(&self, scheme: &str) {
        let preferred = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &preferred);
    }

    /// What axe-core finds wrong with the page for people who do not see it, or not well, or use no mouse: the rule, the element,
    /// and what is asked for.
    pub fn accessibility_findings(&self) -> Vec<String> {
        self.script(AXE);
        let run = "const done = arguments[0]; \
                   const told = (rule) => rule.nodes.map((node) => `${rule.id} ${node.target.join(' ')}: ${node.failureSummary}`); \
                   axe.run(document, { resultTypes: ['violations'] }) \
                       .then((found) => done(found.violations.flatMap(told)), (error) => done([String(error)]));";
        let found = self.tell("/execute/async", &json!({ "script": run, "args": [] }));
        let found = found.as_array().expect("a list of findings").iter();
        found.map(|finding| finding.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A picture of the whole page, as wide as the window and however tall, as a PNG in base64.
    pub fn picture(&self) -> String {
        let mut size = None;
        until("there is a page", || {
            size = self.seen("return [window.innerWidth, document.documentElement.scrollHeight]");
            size.is_some()
        });
        let size = size.unwrap_or_default();
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1 });
        let whole = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let taken = self.devtools("Page.captureScreenshot", &whole);
        taken["data"].as_str().expect("a picture").to_owned()
    }

    /// Does something to the first element that the selector finds. A page that renews itself between the look and the
    /// touch is looked at again.
    fn do_to(&self, css: &str, what: &str, body: &Value) {
        until(&format!("{what} {css}"), || {
            let Some(element) = self.found(css).into_iter().next() else { return false };
            match self.try_call("POST", &self.path(&format!("/element/{element}/{what}")), body) {
                Ok(_) => true,
                Err(error) if is_of_a_page_that_went(&error) => false,
                Err(error) => panic!("{what} {css} at {}: {error}", self.url()),
            }
        });
    }

    fn found(&self, css: &str) -> Vec<String> {
        let found = self.tell("/elements", &json!({ "using": "css selector", "value": css }));
        let name = |element: &Value| element[ELEMENT].as_str().map(str::to_owned);
        found.as_array().into_iter().flatten().filter_map(name).collect()
    }

    /// What the browser's own protocol (Chrome DevTools) answers, where the standard has no word for it.
    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.tell("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    fn path(&self, of: &str) -> String {
        format!("/session/{}{of}", self.session)
    }

    fn tell(&self, of: &str, body: &Value) -> Value {
        self.call("POST", &self.path(of), body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let called = self.try_call(method, path, body);
        called.unwrap_or_else(|error| panic!("{method} {path} {body}: {error}"))
    }

    fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = request(self.address, method, path, "Content-Type: application/json\r\n", &body);
        let value = answer.json()["value"].clone();
        if answer.status == 200 { Ok(value) } else { Err(value) }
    }
}

/// Whether the driver failed because the page renewed itself under its hands, before anything was done to it: the standard
/// has one word for that, the browser has others, and the driver hands those on as an unknown error.
fn is_of_a_page_that_went(error: &Value) -> bool {
    let of_the_browser = [
        "Node with given id does not belong to the document",
        "No node with given id found",
        "Cannot find context with specified id",
        "Execution context was destroyed",
    ];
    let message = error["message"].as_str().unwrap_or_default();
    error["error"] == "stale element reference"
        || (error["error"] == "unknown error" && of_the_browser.iter().any(|words| message.contains(words)))
}

/// A driver that listens, and where; `None` if it has ended instead.
fn start_driver() -> Option<(Child, u16)> {
    let command = || Command::new("chromedriver");
    let mut driver = spawn(command().arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut lines = BufReader::new(driver.stdout.take().expect("what it says")).lines();
    let port = lines.find_map(|line| {
        line.ok()?.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
    });
    let Some(port) = port else {
        kill(&mut driver);
        return None;
    };
    // What it says later is taken from it, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    Some((driver, port))
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser with the session; both are ended anyhow.
        let path = self.path("");
        let _ = crate::client::try_request(self.address, "DELETE", &path, "", "");
        kill(&mut self.driver);
    }
}
