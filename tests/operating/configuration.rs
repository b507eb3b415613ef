//! The configuration as an operator meets it: `check-config`, `healthcheck`, a running engine that reloads.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use testbed::PATIENCE;
use testbed::servers::engine::{EngineProcess, binary};
use testbed::servers::process::free_address;

fn seckill(folder: &Path) -> Command {
    let mut command = Command::new(binary());
    command.current_dir(folder).env_clear();
    command
}

/// What a command of the binary ends with, prints, and complains about.
pub fn run(folder: &Path, args: &[&str], vars: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        seckill(folder).args(args).envs(vars.iter().copied()).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// An engine of its own process on free ports, with the addresses of its edge and its admin plane.
pub fn start(folder: &Path, file: &str) -> (EngineProcess, String, String) {
    let mut command = seckill(folder);
    command.args(["--config", file, "--edge-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let engine = EngineProcess::run(command, folder.join("log"));
    let (edge, admin) = (format!("http://{}", engine.edge()), format!("http://{}", engine.admin()));
    (engine, edge, admin)
}

#[test]
fn check_config_shows_values_with_their_origins() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("engine.toml"),
        "[node]\nid = 4\n[admin]\ntoken = \"t0ken-t0ken-t0ken\"\n",
    )
    .unwrap();
    let args = ["check-config", "--config", "engine.toml", "--data-dir", "elsewhere"];
    let (code, shown, _) = run(folder.path(), &args, &[("SECKILL__STORE__STEPS_MAX", "7777")]);
    assert_eq!(code, Some(0));
    let line = |start: &str| {
        let line = shown.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("id ="), "id = 4 # file engine.toml");
    assert_eq!(line("data_dir ="), "data_dir = \"elsewhere\" # flag --data-dir");
    assert_eq!(line("steps_max ="), "steps_max = 7777 # env SECKILL__STORE__STEPS_MAX");
    assert_eq!(line("front_end ="), "front_end = \"hyper\" # default");
    assert_eq!(line("token ="), "token = \"********\" # file engine.toml");
    assert!(!shown.contains("t0ken-t0ken-t0ken"));

    let (code, shown_again, _) = run(folder.path(), &["check-config"], &[("SECKILL_CONFIG", "engine.toml")]);
    assert_eq!(code, Some(0));
    assert!(shown_again.contains("id = 4"), "{shown_again}");
}

#[test]
fn a_wrong_configuration_ends_every_command_and_names_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        (("SECKILL__EDGE__LISTN", "127.0.0.1:1"), "edge.listn"),
        (("SECKILL__EDGE__LISTEN", "0.0.0.0:8080"), "edge.auth.origin_secret"),
        (("SECKILL__ADMIN__LISTEN", "0.0.0.0:9090"), "admin.token"),
        (("SECKILL__NODE__ID", "5000"), "node.id"),
    ];
    for (var, key) in cases {
        for command in ["serve", "check-config", "healthcheck"] {
            let (code, shown, problem) = run(folder.path(), &[command], &[var]);
            assert_eq!(code, Some(78), "{command} {var:?}: {problem}");
            assert!(problem.contains(key), "{problem}");
            assert_eq!(shown, "");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn healthcheck_without_an_engine_fails() {
    let folder = tempfile::tempdir().unwrap();
    let free = free_address().to_string();
    let (code, _, problem) = run(folder.path(), &["healthcheck", "--admin-listen", &free], &[]);
    assert_eq!(code, Some(1));
    assert!(problem.contains(&free), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_engine_takes_over_what_may_change_live() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("engine.toml");
    std::fs::write(&file, "").unwrap();
    let (_engine, edge, admin) = start(folder.path(), "engine.toml");
    let http = Client::builder().timeout(PATIENCE).build().unwrap();
    let admin_address = admin.strip_prefix("http://").unwrap();
    assert_eq!(run(folder.path(), &["healthcheck", "--admin-listen", admin_address], &[]).0, Some(0));

    let sale = json!({"campaign": "c", "sku": "s", "price_cents": 1, "stock": 100, "per_buyer_limit": 50});
    let created = http.post(format!("{}/api/v1/campaigns", admin)).body(sale.to_string());
    assert_eq!(created.send().await.unwrap().status(), StatusCode::CREATED);
    let buy = async || {
        let click = http.post(format!("{}/seckill/c/s", edge)).header("x-user-id", "ada");
        click.send().await.unwrap().status()
    };
    let sale_state = async || {
        let page = http.get(format!("{}/seckill/c/s", edge)).header("x-platform", "watch");
        page.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let reload = async |text: &str| {
        std::fs::write(&file, text).unwrap();
        let answer = http.post(format!("{}/api/v1/config/reload", admin)).send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };

    for _ in 0..3 {
        assert_eq!(buy().await, StatusCode::CREATED);
    }
    assert!(sale_state().await["title"].is_string());

    let (status, problem) = reload("node.id = 9\nadmission.buyer_rate_per_s = 1").await;
    assert_eq!(
        (status, &problem["keys"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!(["node.id"])),
        "{problem}"
    );
    let (status, problem) = reload("admission.buyer_rate = 1").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["keys"], json!(["admission.buyer_rate"]), "{problem}");
    assert_eq!(buy().await, StatusCode::CREATED, "the old configuration stayed");

    let changed = "[admission]\nbuyer_rate_per_s = 1\nbuyer_burst = 1\n\
                   [edge]\nack_wait_ms = 1500\nsale_state.platforms = { watch = [\"state\"] }\n[log]\nlevel = \"warn\"\n";
    let (status, answer) = reload(changed).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["status"], "reloaded");
    let keys = answer["changed"].as_array().unwrap();
    for key in ["admission.buyer_burst", "edge.ack_wait_ms", "edge.sale_state.platforms.watch", "log.level"] {
        assert!(keys.contains(&json!(key)), "{answer}");
    }
    // One click a second: a machine that needed a second for each of twenty would fail elsewhere before.
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(buy().await);
    }
    assert_eq!(answers[0], StatusCode::CREATED);
    assert!(answers.contains(&StatusCode::TOO_MANY_REQUESTS), "{answers:?}");
    assert_eq!(sale_state().await, json!({"state": "open"}));
}

#[test]
fn an_engine_that_nobody_listens_to_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("engine.toml"), "").unwrap();
    let admin = free_address().to_string();
    let mut process = seckill(folder.path())
        .args(["--config", "engine.toml", "--edge-listen", "127.0.0.1:0", "--admin-listen", &admin])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Before it says a word.
    drop(process.stdout.take());
    let asked = std::time::Instant::now();
    while run(folder.path(), &["healthcheck", "--admin-listen", &admin], &[]).0 != Some(0) {
        assert_eq!(process.try_wait().unwrap(), None, "it has ended");
        assert!(asked.elapsed() < PATIENCE, "it never became ready");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&process), rustix::process::Signal::TERM)
        .unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0), "it goes on until it is told to stop");
}

#[test]
fn the_keys_and_the_address_of_a_webhook_may_stand_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("url", "https://erp.example/a/secret/path\n");
    write("keys", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n\nwhsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n");
    let endpoint = "[[webhooks.endpoints]]\nname = 'erp'\nurl_file = 'url'\nsecrets_file = 'keys'\n";
    write("engine.toml", endpoint);
    let check = || run(folder.path(), &["check-config", "--config", "engine.toml"], &[]);
    let (code, shown, said) = check();
    assert_eq!(code, Some(0), "{said}");
    assert!(shown.contains("erp") && !shown.contains("MfKQ9") && !shown.contains("secret/path"), "{shown}");
    for (name, text, wrong) in [("keys", "hunter2", "whsec_"), ("url", "http://erp.example/", "allow_http")] {
        write(name, text);
        let (code, _, said) = check();
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("webhooks.endpoints") && said.contains(wrong), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        write(name, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    }
}

#[test]
fn o6_secrets_are_long_trimmed_and_may_stand_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("secret"), "a-secret-of-the-gateway\n").unwrap();
    std::fs::write(path("secrets"), "\nthe-first-of-the-list\nthe-second-of-the-list\r\n").unwrap();
    std::fs::write(path("empty"), "\n").unwrap();
    let check = |file: &str, vars: &[(&str, &str)]| {
        std::fs::write(path("engine.toml"), file).unwrap();
        run(folder.path(), &["check-config", "--config", "engine.toml"], vars)
    };
    let public = include_str!("../../src/edge/testdata/es256.public.pem");
    let jwt = |key: &str| {
        format!("[edge.auth]\nmode = 'jwt'\n[edge.auth.jwt]\nalgorithm = 'HS256'\nkey = '''{key}'''")
    };
    let token = "token = 'a-token-of-some-length'";
    for (file, wrong) in [
        ("[edge.auth]\norigin_secret = 'x'".to_owned(), "edge.auth.origin_secret"),
        ("[edge.auth]\norigin_secrets = ['two words are no secret']".to_owned(), "edge.auth.origin_secrets"),
        ("[admin]\ntoken = 'short'".to_owned(), "admin.token"),
        ("[admin]\nformer_token = 'a-token-of-some-length'".to_owned(), "admin.former_token"),
        ("[admin]\ntoken = 1234567890123456".to_owned(), "admin.token"),
        (format!("[admin]\n{token}\ntoken_file = '{}'", path("secret")), "admin.token_file"),
        (format!("[admin]\ntoken_file = '{}'", path("none")), "admin.token_file"),
        (format!("[admin]\ntoken_file = '{}'", path("empty")), "admin.token_file"),
        (jwt("short"), "edge.auth.jwt.key"),
        (jwt(public), "edge.auth.jwt.key"),
    ] {
        let (code, _, problem) = check(&file, &[]);
        assert_eq!(code, Some(78), "{file}: {problem}");
        assert!(problem.contains(wrong), "{problem}");
        assert!(!problem.contains("1234567890123456"), "a secret is shown: {problem}");
    }

    let file = format!(
        "[edge.auth]\norigin_secret_file = '{}'\norigin_secrets_file = '{}'\n[admin]\ntoken = \" padded-to-be-trimmed\\n\"",
        path("secret"),
        path("secrets")
    );
    let vars = [
        ("SECKILL__CHECKOUT__GATEWAY__KIND", "http"),
        ("SECKILL__CHECKOUT__GATEWAY__HTTP__URL", "https://me:hunter2@bank.example/pay"),
        ("SECKILL__REDIS__PASSWORD_FILE", &path("secret")),
    ];
    let (code, shown, problem) = check(&file, &vars);
    assert_eq!(code, Some(0), "{problem}");
    assert!(shown.contains("https://********@bank.example/pay"), "{shown}");
    for secret in ["hunter2", "a-secret-of-the-gateway", "the-first-of", "the-second-of", "padded"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
    let line = shown.lines().find(|line| line.starts_with("origin_secrets =")).unwrap();
    assert_eq!(line.matches("********").count(), 2, "{line}");
}

#[cfg(unix)]
#[test]
fn o6_the_data_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let data = folder.path().join("data");
    std::fs::write(folder.path().join("engine.toml"), "").unwrap();
    for life in 0..2 {
        let (engine, ..) = start(folder.path(), "engine.toml");
        assert_eq!(mode(&data), 0o700);
        let files: Vec<_> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.iter().any(|path| path.ends_with("orders.sqlite-wal")), "{files:?}");
        for file in files.iter().filter(|file| !file.ends_with("lock")) {
            assert_eq!(mode(file), 0o600, "{}", file.display());
        }
        drop(engine);
        if life == 0 {
            // As an older engine left it.
            for file in std::fs::read_dir(&data).unwrap() {
                let open = std::fs::Permissions::from_mode(0o644);
                std::fs::set_permissions(file.unwrap().path(), open).unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o6_secrets_and_tokens_change_while_the_engine_runs() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let (old, new) = ("the-old-one-and-long", "the-new-one-and-long");
    let files = "[edge.auth]\norigin_secrets_file = 'origin'\n[admin]\n";
    write("origin", &format!("{old}\n"));
    write("engine.toml", &format!("{files}token = '{old}'"));
    let (_engine, edge, admin) = start(folder.path(), "engine.toml");
    let http = Client::builder().timeout(PATIENCE).build().unwrap();
    let heard = async |secret: &str| {
        let state = http.get(format!("{}/seckill/demo/widget", edge)).header("x-origin-secret", secret);
        state.send().await.unwrap().status() == StatusCode::OK
    };
    let reload = async |token: &str| {
        let reload = http.post(format!("{}/api/v1/config/reload", admin)).bearer_auth(token);
        reload.send().await.unwrap().status()
    };
    assert!(heard(old).await && !heard(new).await);
    write("origin", &format!("{old}\n{new}\n"));
    write("engine.toml", &format!("{files}token = '{new}'\nformer_token = '{old}'"));
    assert_eq!(reload(new).await, StatusCode::UNAUTHORIZED);
    assert_eq!(reload(old).await, StatusCode::OK);
    assert!(heard(old).await && heard(new).await);
    write("origin", new);
    write("engine.toml", &format!("{files}token = '{new}'"));
    assert_eq!(reload(new).await, StatusCode::OK);
    assert!(!heard(old).await && heard(new).await);
    assert_eq!(reload(old).await, StatusCode::UNAUTHORIZED);
}
