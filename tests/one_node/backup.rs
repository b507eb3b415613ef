//! A backup is made while buyers buy, and an engine starts from it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use testbed::engine::{Engine, Launch};
use testbed::servers::engine::binary;

fn seckill(args: &[&str]) -> Output {
    Command::new(binary()).args(args).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn o14_a_backup_of_a_running_engine_holds_every_order_acknowledged_before() {
    let engine = Engine::start(&[("ADMISSION__BUYER_RATE_PER_S", "0")]);
    engine.sale("phone", 1_000_000, "");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("orders #1?.sqlite");
    let data = engine.launch().folder().to_owned();
    let is_over = AtomicBool::new(false);
    let before: Vec<String> =
        (0..50).map(|n| engine.buy("phone", &format!("first-{n}")).member("order_id")).collect();
    let made = std::thread::scope(|scope| {
        let (engine, is_over) = (&engine, &is_over);
        scope.spawn(move || {
            for n in 0.. {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                assert_eq!(engine.buy("phone", &format!("crowd-{n}")).status, 201, "buyers do not wait");
            }
        });
        let made = seckill(&["backup", text(&copy), "--data-dir", text(&data)]);
        is_over.store(true, Ordering::SeqCst);
        made
    });
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.status.success(), "{said}{}", String::from_utf8_lossy(&made.stderr));
    assert!(said.contains("default:test/phone: 1000000 units") && said.contains("it is whole"), "{said}");
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "one file");

    let again = seckill(&["backup", text(&copy), "--data-dir", text(&data)]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("exists already"));
    let raw = seckill(&["check-backup", text(&data.join("orders.sqlite"))]);
    assert!(!raw.status.success(), "a running engine's own file is no backup");
    engine.kill();

    let restored = Launch::new(&[]);
    std::fs::copy(&copy, restored.folder().join("orders.sqlite")).unwrap();
    let engine = restored.start();
    let orders = engine.orders("phone", "");
    let known: Vec<&str> = orders.iter().map(|order| order["order_id"].as_str().unwrap()).collect();
    assert!(before.iter().all(|order| known.contains(&order.as_str())), "{} of the first 50", known.len());
    assert_eq!(engine.audit("phone").durable_orders, known.len() as u64);
    assert_eq!(engine.buy("phone", "late").status, 201);
}

#[test]
fn o14_a_damaged_backup_is_told_from_a_whole_one() {
    let engine = Engine::start(&[]);
    engine.sale("phone", 10, "");
    assert_eq!(engine.buy("phone", "ann").status, 201);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let data = engine.launch().folder().to_owned();
    assert!(seckill(&["backup", text(&copy), "--data-dir", text(&data)]).status.success());
    assert!(seckill(&["check-backup", text(&copy)]).status.success());
    let backup = rusqlite::Connection::open(&copy).unwrap();
    backup.execute("DELETE FROM orders", []).unwrap();
    backup.close().unwrap();
    let checked = seckill(&["check-backup", text(&copy)]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains("damaged: default:test/phone: 1 of 10 units"), "{said}");
    std::fs::write(&copy, b"no database").unwrap();
    assert!(!seckill(&["check-backup", text(&copy)]).status.success());
    let nothing = seckill(&["backup", text(&folder.path().join("x")), "--data-dir", text(folder.path())]);
    assert!(!nothing.status.success() && !folder.path().join("x").exists());
    let shared = seckill(&["backup", "x", "--database-url", "postgres://nowhere/x"]);
    assert!(String::from_utf8_lossy(&shared.stderr).contains("pg_dump"));
}
