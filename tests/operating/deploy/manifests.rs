//! The manifests of Kubernetes, judged by Kubernetes' own schemas, and the files in them by the programs that read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use testbed::certificates::{Authority, Files};
use testbed::servers::process::with_system_programs;

use super::{content, deployed, in_force, text_of};

const FOLDER: &str = "kubernetes";
/// The validator's, and that of the newest Kubernetes whose schemas it brings.
const NEWEST: &str = "1.37";
/// What the manifests use that is not old, and the minor version of Kubernetes 1 from which it is there unasked for.
const THERE_SINCE: [(&str, u32); 5] = [
    ("type: ContainerResource", 27),
    ("unhealthyPodEvictionPolicy:", 27),
    ("['apps.kubernetes.io/pod-index']", 28),
    // An initial container that stays: a sidecar.
    ("          restartPolicy: Always\n", 29),
    ("preStop:\n              sleep:", 30),
];

/// The validator, which brings the schemas of each version of Kubernetes, installed into the tests' own folder where it is
/// missing, by the first who asks.
pub(super) fn packages() -> &'static Path {
    static PACKAGES: OnceLock<PathBuf> = OnceLock::new();
    PACKAGES.get_or_init(installed)
}

fn installed() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubernetes-validate");
    let python = |args: &[&str]| {
        let mut command = Command::new("python3");
        command.args(args).env("PYTHONPATH", &folder);
        command
    };
    let present = python(&["-c", "import kubernetes_validate"]).output().expect("this test needs python3");
    if !present.status.success() {
        let to = folder.to_str().unwrap();
        let wanted = format!("kubernetes-validate=={NEWEST}.*");
        content(&mut python(&["-m", "pip", "install", "--quiet", "--upgrade", "--target", to, &wanted]));
    }
    folder
}

/// The manifests, by name.
fn manifests() -> Vec<PathBuf> {
    let files = fs::read_dir(deployed(FOLDER)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "yaml"))
        .filter(|file| !file.ends_with("kustomization.yaml"))
        .collect();
    files.sort();
    files
}

/// The oldest Kubernetes that the manifests are for, as an operator reads it.
fn oldest() -> u32 {
    let page = text_of("kubernetes/kustomization.yaml");
    let (_, version) = page.split_once("\n# Needs Kubernetes 1.").expect("what it needs");
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[test]
fn the_manifests_need_the_kubernetes_that_they_say() {
    let all: String = manifests().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    assert!(!all.contains("Kubernetes 1."), "it stands in one place");
    for (used, since) in THERE_SINCE {
        assert!(all.contains(used), "nothing uses {used:?}");
        assert!(since <= oldest(), "{used:?} is there from 1.{since}");
    }
    assert_eq!(THERE_SINCE.map(|(_, since)| since).into_iter().max(), Some(oldest()));
}

#[test]
fn kubernetes_schemas_take_every_manifest() {
    let manifests = manifests();
    assert!(manifests.len() >= 7, "{manifests:?}");
    let oldest = format!("1.{}", oldest());
    let validate = |file: &Path| {
        let mut command = Command::new("python3");
        command.args(["-m", "kubernetes_validate", "--strict"]);
        for version in [NEWEST, &oldest] {
            command.args(["-k", version]);
        }
        command.arg(file).env("PYTHONPATH", packages());
        command
    };
    for manifest in &manifests {
        let said = content(&mut validate(manifest));
        assert!(said.contains(" passed for resource "), "{}: {said}", manifest.display());
    }
    // It would say so if something was wrong.
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.yaml");
    let text = text_of("kubernetes/autoscaling.yaml").replace("container: engine", "contaner: engine");
    fs::write(&wrong, text).unwrap();
    assert!(!validate(&wrong).output().unwrap().status.success());
}

#[test]
fn the_kustomization_names_every_file() {
    let kustomization = text_of("kubernetes/kustomization.yaml");
    for manifest in manifests() {
        let name = manifest.file_name().unwrap().to_str().unwrap().to_owned();
        let is_applied = kustomization.lines().any(|line| line.trim() == format!("- {name}"));
        assert_eq!(is_applied, name != "secrets.example.yaml", "{name}");
    }
    for file in ["seckill.toml", "nginx.conf"] {
        assert!(kustomization.contains(&format!("files: [{file}]")) && deployed(FOLDER).join(file).exists());
    }
}

#[test]
fn a_pod_has_the_time_that_its_engine_takes_to_stop() {
    let number = |file: &str, key: &str| -> u64 {
        let text = text_of(file);
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
        let digits: String =
            line.unwrap_or_else(|| panic!("no {key}")).chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    let set = "kubernetes/statefulset.yaml";
    let grace_ms = number(set, "terminationGracePeriodSeconds:") * 1_000;
    let before_ms = number(set, "sleep:") * 1_000;
    let stop_ms = number("kubernetes/seckill.toml", "stop_ms_max =");
    assert!(before_ms + stop_ms < grace_ms, "killed before it has stopped");
}

/// The engine's file. What stands in the secrets, as the example names them, are files of the test's.
pub(super) fn engine_file(files: &Files) -> PathBuf {
    let example = text_of("kubernetes/secrets.example.yaml");
    let mut config = text_of("kubernetes/seckill.toml");
    let secrets: Vec<_> = config
        .split("/etc/seckill-secrets/")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect();
    assert!(secrets.len() >= 6);
    for secret in secrets {
        assert!(example.contains(&format!("  {secret}: ")), "secrets.example.yaml has no {secret}");
        let value = match &*secret {
            "postgres-url" => {
                "postgres://seckill:secret@postgres.database:5432/shop?sslmode=require".to_owned()
            }
            "redis-url" => "redis://redis.database:6379".to_owned(),
            "jwt-key" => include_str!("../../../src/edge/testdata/es256.public.pem").to_owned(),
            _ => format!("{secret}-of-more-than-sixteen-letters"),
        };
        let own = files.write(&secret, &value);
        config = config.replace(&format!("/etc/seckill-secrets/{secret}"), own.to_str().unwrap());
    }
    files.write("seckill.toml", &config)
}

#[test]
fn the_engine_and_nginx_take_what_the_pod_has_for_them() {
    let files = Files::default();
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let node = ("SECKILL__NODE__ID".to_owned(), "1".to_owned());
    let settings = in_force(&engine_file(&files), &[node]);
    assert_eq!(settings["stop_ms_max"].0, "45000");

    let (certificate, key) = files.write_pair("shop", &Authority::new("ca").sign("shop.example"));
    let folder = tempfile::tempdir().unwrap();
    let config = text_of("kubernetes/nginx.conf")
        .replace("/tmp/", &format!("{}/", folder.path().display()))
        .replace("/etc/shop-tls/tls.crt", &text(certificate))
        .replace("/etc/shop-tls/tls.key", &text(key))
        // Before 1.25 it stood behind `listen`.
        .replace("        http2 on;\n", "");
    let config = text(files.write("nginx.conf", &config));
    content(with_system_programs(Command::new("nginx").args(["-t", "-c", &config])));
}
