//! What is served is what is printed, caches may keep it, and problems lead to their pages.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use testbed::client::request;
use testbed::described::{self, Described};
use testbed::engine::Engine;

fn planes(engine: &Engine) -> [(SocketAddr, &'static Described); 2] {
    [(engine.edge(), described::edge()), (engine.admin_addr(), described::admin())]
}

#[test]
fn each_plane_serves_its_document_and_a_client_that_has_it_is_told_so() {
    for front_end in ["hyper", "may"] {
        let engine = Engine::start(&[("EDGE__FRONT_END", front_end)]);
        for (plane, described) in planes(&engine) {
            let answer = request(plane, "GET", "/openapi.json", "X-Request-ID: ann-1\r\n", "");
            described.hold("GET", "/openapi.json", &answer);
            assert_eq!((answer.status, answer.json()), (200, described.document().clone()), "{front_end}");
            assert_eq!(answer.field("cache-control"), Some("public, max-age=300"));
            assert_eq!(answer.field("x-request-id"), None, "what others are shown carries nobody's name");
            let etag = answer.field("etag").expect("a version").to_owned();
            for (known, status) in [(etag.as_str(), 304), ("\"another\"", 200)] {
                let again =
                    request(plane, "GET", "/openapi.json", &format!("If-None-Match: {known}\r\n"), "");
                described.hold("GET", "/openapi.json", &again);
                assert_eq!((again.status, again.body.is_empty()), (status, status == 304), "{front_end}");
                assert_eq!(again.field("etag"), Some(etag.as_str()));
            }
            let put = request(plane, "PUT", "/openapi.json", "", "");
            described.hold("PUT", "/openapi.json", &put);
            assert_eq!(put.status, 405);
        }
    }
}

#[test]
fn nobody_needs_a_token_for_the_document_and_the_pages_and_everybody_for_the_rest() {
    let engine = Engine::start(&[("ADMIN__TOKEN", "a-token-of-some-length")]);
    for path in ["/openapi.json", "/problems", "/problems/unauthorized", "/livez"] {
        assert_eq!(request(engine.admin_addr(), "GET", path, "", "").status, 200, "{path}");
    }
    let paths = described::admin().document()["paths"].as_object().unwrap();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let is_open = operation["security"].as_array().unwrap().is_empty();
            let answer = request(engine.admin_addr(), &method.to_ascii_uppercase(), path, "", "");
            assert_eq!(answer.status == 401, !is_open, "{method} {path}: {}", answer.status);
        }
    }
}

#[test]
fn the_type_of_each_problem_leads_to_its_page() {
    let engine = Engine::start(&[]);
    for (plane, described) in planes(&engine) {
        let get = |path: &str| {
            let answer = request(plane, "GET", path, "", "");
            described.hold("GET", path, &answer);
            answer
        };
        let index = get("/problems");
        for code in described.codes() {
            let kind = &described.document()["x-problems"][&code];
            let page = get(kind["page"].as_str().unwrap());
            assert_eq!(
                (page.status, page.field("content-type")),
                (200, Some("text/html; charset=utf-8")),
                "{code}"
            );
            assert!(page.body.contains(kind["title"].as_str().unwrap()), "{code}: {}", page.body);
            assert!(index.body.contains(&format!("href=\"/problems/{code}\"")), "{code}");
        }
        let unknown = get("/problems/%3Cscript%3E");
        assert_eq!((unknown.status, unknown.member("type").as_str()), (404, "/problems/not-found"));
    }
}

/// The compiler says when a code is used that is not described; this says when one is described that nobody uses.
#[test]
fn no_code_is_described_that_no_source_answers_with() {
    let text = |folder: &str, but: &str| {
        let mut text = String::new();
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), but, &mut text);
        text
    };
    let (edge, admin) = (text("src/edge", "openapi.rs"), text("src/admin", "problem_code.rs"));
    let problems =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/edge/problem.rs")).unwrap();
    for code in described::edge().codes() {
        let names = problems
            .lines()
            .filter(|line| line.contains(&format!("\"{code}\"")))
            .filter_map(|line| line.split(" = ").next());
        let is_used = |name: &str| edge.contains(&format!("problem::{}", name.trim()));
        assert!(
            names.clone().count() > 0 && names.clone().all(is_used),
            "{code}: {:?}",
            names.collect::<Vec<_>>()
        );
    }
    for code in described::admin().codes() {
        let words = code.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
        let name = format!("Code::{}", words.collect::<String>());
        assert!(admin.contains(&name), "{name}");
    }
}

/// The text of all sources in a folder but the files of this name, and those that only describe.
fn collect(folder: &Path, but: &str, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("openapi") {
            collect(&path, but, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with(but) {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}
