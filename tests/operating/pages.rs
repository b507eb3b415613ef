//! What readers copy from the pages: their lines, pasted into a shell beside a running engine, and their files and bodies.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use testbed::described::{admin, edge};
use testbed::engine::Engine;
use testbed::pages::{all, blocks, prose, read};
use testbed::receiver::{Receiver, SECRET};
use testbed::search::SearchServer;
use testbed::servers::engine::binary;

use super::configuration::{run, start};

/// Secrets that have a form, by the names that pages give their files.
const SECRETS: [(&str, &str); 3] = [
    ("erp-url", "https://erp.example/a/path"),
    ("erp-keys", SECRET),
    ("traces", "authorization: Bearer of-the-collector"),
];
/// Any other.
const ANY_SECRET: &str = "a-secret-of-more-than-16-bytes";

/// A shell where whatever the engine refuses is a failure.
const STRICT: &str = "set -euxo pipefail\ncurl() { command curl --fail-with-body \"$@\"; }\n";

/// Where an engine answers, in place of the addresses of the pages.
struct Shell<'a> {
    folder: &'a Path,
    edge: String,
    admin: String,
}

impl Shell<'_> {
    /// Runs lines as they stand; what they print.
    fn run(&self, lines: &str) -> String {
        let admin = self.admin.strip_prefix("http://").unwrap();
        let script = format!("{STRICT}{lines}").replace("http://127.0.0.1:8080", &self.edge);
        let script = script
            .replace("http://127.0.0.1:9090", &self.admin)
            .replace(" localhost:9090", &format!(" {admin}"));
        let mut bash = Command::new("bash");
        bash.args(["-c", &script]).current_dir(self.folder).env("SECKILL__ADMIN__LISTEN", admin);
        let Output { status, stdout, stderr } = bash.output().unwrap();
        let (told, traced) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{told}\n{traced}");
        told.into_owned()
    }
}

/// The page's blocks of lines that ask an engine.
fn asking(page: &str) -> Vec<&str> {
    let asks = |line: &str| line.starts_with("curl ") || line.contains("$(curl ");
    blocks(page, "sh").into_iter().filter(|block| block.lines().any(asks)).collect()
}

/// A text with something else in the place of what it has to have.
fn edited(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from} in {text}");
    text.replace(from, to)
}

#[test]
fn every_file_of_a_page_is_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().to_str().unwrap();
    let mut files = 0;
    for page in all() {
        for file in blocks(&read(&page), "toml") {
            for name in file.split("/run/secrets/").skip(1).filter_map(|rest| rest.split('"').next()) {
                let known = SECRETS.iter().find(|(known, _)| *known == name);
                let secret = known.map_or(ANY_SECRET, |(_, secret)| *secret);
                fs::write(folder.path().join(name), format!("{secret}\n")).unwrap();
            }
            fs::write(folder.path().join("engine.toml"), file.replace("/run/secrets", secrets)).unwrap();
            let (code, shown, problem) =
                run(folder.path(), &["check-config", "--config", "engine.toml"], &[]);
            assert_eq!(code, Some(0), "{page}: {problem}");
            let is_taken =
                shown.contains("# file engine.toml") || shown.contains(&format!("file {secrets}/"));
            assert!(is_taken, "{page}: {shown}");
            files += 1;
        }
    }
    assert!(files > 4, "{files}");
}

#[test]
fn the_lines_of_the_readme_work_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("engine.toml"), "").unwrap();
    let (_engine, edge, admin) = start(folder.path(), "engine.toml");
    let binaries = binary().parent().unwrap();
    let readme = read("README.md");
    // What is built from source and the load tests have tests of their own.
    let lines = blocks(&readme, "sh").into_iter().flat_map(str::lines);
    let lines = lines.filter(|line| !line.starts_with("cargo ") && !line.starts_with("loadtest "));
    let lines = lines.collect::<Vec<_>>().join("\n");
    let lines = edited(&lines, "$PWD/target/release", binaries.to_str().unwrap());
    let told = Shell { folder: folder.path(), edge, admin }.run(&lines);
    for word in [r#""status":"paid""#, r#""status":"cancelled""#, r#""state":"upcoming""#, "it is whole"] {
        assert!(told.contains(word), "no {word}:\n{told}");
    }
}

/// What is there before the lines of `OPERATING.md` are: two orders that are paid.
const PAID: &str = r#"
curl -s http://127.0.0.1:9090/api/v1/campaigns -d '{"campaign":"paid","sku":"thing","price_cents":1999,"stock":9}'
buy() { curl -s -X POST -H "X-User-ID: $1" http://127.0.0.1:8080/seckill/paid/thing | sed 's/.*"order_id":"\([^"]*\)".*/\1/'; }
pay() {
  curl -s -X POST -H "X-User-ID: $1" -d '{"payment_method":"card"}' http://127.0.0.1:8080/orders/$2/checkout
  for _ in $(seq 600); do
    curl -s -H "X-User-ID: $1" http://127.0.0.1:8080/orders/$2 | grep '"status":"paid"' && return
    sleep 0.2
  done
  return 1
}
ORDER=$(buy ann)
OTHER=$(buy bob)
pay ann $ORDER
pay bob $OTHER
"#;

/// What has to be over before campaigns are archived and deleted.
const OVER: &str = r#"
test -n "$TAG"
curl -s http://127.0.0.1:9090/api/v1/campaigns -d '{"campaign":"autumn","sku":"mistake","price_cents":1,"stock":1}'
curl -s -X POST http://127.0.0.1:9090/api/v1/campaigns/autumn/mistake/end -d '{"reason":"a mistake"}'
curl -s -X POST http://127.0.0.1:9090/api/v1/campaigns/autumn/watch/end -d '{"reason":"it is over"}'
"#;

/// What happens between registration and purchase: the pass is kept, the draw goes on without a beacon, and it begins.
const BEGINS: &str = r#"
PASS=$(curl -s -X POST -H 'X-User-ID: ann' http://127.0.0.1:8080/seckill/autumn/watch/queue | sed 's/.*"pass":"\([^"]*\)".*/\1/')
curl -s -X PATCH http://127.0.0.1:9090/api/v1/campaigns/autumn/watch -d '{"queue":{"beacon":null}}'
curl -s -X PATCH http://127.0.0.1:9090/api/v1/campaigns/autumn/watch -d "{\"starts_at\":\"$(date -u +%FT%TZ)\"}"
"#;

#[test]
fn the_lines_of_the_other_pages_work_in_their_order() {
    let ask: Vec<_> = all().into_iter().filter(|page| !asking(&read(page)).is_empty()).collect();
    let run_here =
        ["deploy/README.md", "src/admin/OPERATING.md", "src/edge/WAITING_ROOM.md", "src/search/SEARCH.md"];
    assert_eq!(
        ask,
        [&["README.md"][..], &run_here[..]].concat(),
        "each page's lines are run in one of two tests"
    );

    let (receiver, search, folder) =
        (Receiver::start(), SearchServer::elastic(), tempfile::tempdir().unwrap());
    let endpoints =
        format!("[{{name=\"erp\",url=\"{}\",secrets=[\"{SECRET}\"],allow_http=true}}]", receiver.url());
    let webhooks =
        [("WEBHOOKS__ENDPOINTS", endpoints.as_str()), ("WEBHOOKS__ALLOWED_NETWORKS", "[\"127.0.0.0/8\"]")];
    let engine = Engine::start(&[&webhooks[..], &search.keys()[..]].concat());
    let (edge, admin) = (format!("http://{}", engine.edge()), format!("http://{}", engine.admin_addr()));
    let check = format!("{} verify-draw --admin {admin}", binary().display());
    let shell = Shell { folder: folder.path(), edge, admin };

    // An engine without a token heeds none.
    fs::create_dir(folder.path().join("secrets")).unwrap();
    fs::write(folder.path().join("secrets/admin-token"), ANY_SECRET).unwrap();
    let page = read("deploy/README.md");
    let [lines] = asking(&page)[..] else { panic!("one block of lines") };
    let told = shell.run(&edited(lines, "autumn", "first"));
    assert!(told.contains("\"order_id\""), "{told}");

    let page = read("src/search/SEARCH.md");
    let [lines] = asking(&page)[..] else { panic!("one block of lines") };
    assert!(shell.run(lines).contains("\"rebuild\""));

    let page = read("src/edge/WAITING_ROOM.md");
    let [lines, beacon] = asking(&page)[..] else { panic!("two blocks of lines") };
    let [names, _, gives] = beacon.lines().collect::<Vec<_>>()[..] else { panic!("three lines: {beacon}") };
    let gives = edited(gives, "…its randomness…", &"5e".repeat(32));
    let (waits, buys) = lines.split_at(lines.find("-H \"X-Sale-Pass: ").expect("a purchase with a pass"));
    let (waits, buys_by) = waits.rsplit_once('\n').unwrap();
    let (buys, checks) = buys.split_once('\n').unwrap();
    // Nobody waits for the years of the page: one may register at once, and the round's value is not there yet.
    let waits = edited(waits, "\"2030-01-31T11:30:00Z\"", "null");
    let buys = format!("for _ in $(seq 600); do {buys_by}{buys} && break; sleep 0.2; done");
    let checks = edited(checks, "seckill verify-draw", &check);
    let lines = [waits.as_str(), names, &format!("! {gives}"), BEGINS, &buys, &checks].join("\n");
    let told = shell.run(&lines.replace("autumn", "drawn"));
    for word in ["\"pass\":", "\"beacon-not-due\"", "\"order_id\":"] {
        assert!(told.contains(word), "no {word}:\n{told}");
    }

    // It stops all sales, and is the last therefore.
    let page = read("src/admin/OPERATING.md");
    let [campaigns, end, refunds, hooks] = asking(&page)[..] else { panic!("four blocks of lines") };
    // So many events there are.
    let hooks = edited(&edited(hooks, "1042", "1"), "1051", "2");
    let told = shell.run(&[PAID, campaigns, OVER, end, refunds, &hooks].join("\n"));
    for word in ["\"status\":\"refund", "\"name\":\"erp\""] {
        assert!(told.contains(word), "no {word}:\n{told}");
    }
}

#[test]
fn the_bodies_that_pages_tell_in_a_sentence_are_described() {
    let mut bodies = 0;
    for page in all() {
        let text = read(&page);
        for prose in prose(&text) {
            let parts: Vec<_> = prose.split('`').collect();
            // Code, a word between, code.
            for parts in parts[1..].windows(3).step_by(2) {
                let [request, between, body] = parts else { continue };
                let Some((method, path)) = request.split_once(' ') else { continue };
                let is_body = [",", "with"].contains(&between.trim()) && body.starts_with('{');
                if !is_body || !["POST", "PATCH", "DELETE"].contains(&method) {
                    continue;
                }
                let path = path.trim();
                let wrong = [admin(), edge()].map(|plane| plane.wrong_request(method, path, body));
                assert!(wrong.iter().any(Vec::is_empty), "{page}: {request} with {body}: {wrong:?}");
                bodies += 1;
            }
        }
    }
    assert!(bodies > 1, "{bodies}");
}
