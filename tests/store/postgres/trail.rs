//! The trail in PostgreSQL: of one transaction with its act, told once, and never changed.

use seckill::domain::{EpochMs, OrderAction, SaleEdit};
use seckill::orders::{
    Act, ActKind, Actor, Batch, DeadlineStep, Grace, SaleAct, SaleChange, StoreReader, StoreWriter,
    Transition,
};
use serde_json::{Map, Value, json};

use super::node::{NOW, Node, change};
use testbed::servers::postgres::Postgres;

fn act(id: i64, kind: ActKind) -> Act {
    let text = str::to_owned;
    let actor = Actor { who: text("ann"), role: text("admin"), address: text("::1"), request_id: text("r") };
    let (tenant, reason) = (Some(text("default")), Some(text("why")));
    let object = text("it");
    Act { id, at: NOW, actor, tenant, kind, object, from: Value::Null, to: Value::Null, reason }
}

fn show(sale: &seckill::domain::Sale) -> Map<String, Value> {
    [("paused".to_owned(), json!(sale.terms.paused)), ("stock".to_owned(), json!(sale.total))]
        .into_iter()
        .collect()
}

#[test]
fn every_way_to_act_is_told_and_only_what_was_done() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut node = Node::open(1, &url);
    let sale = node.sale("a", 10, 5);
    let order = node.buy(sale, "ann", None).unwrap();

    let pause = SaleEdit { paused: Some(true), ..SaleEdit::default() };
    let told = Some(SaleAct { act: act(1, ActKind::CampaignChanged), show });
    let pause = SaleChange { act: told, ..change(sale, pause, 0) };
    node.writer.change_sale(&pause).unwrap();
    let stale = SaleChange { if_version: Some(vec![0]), ..pause };
    node.writer.change_sale(&stale).unwrap();

    let cancel = |id| Transition {
        act: Some(Box::new(act(id, ActKind::OrderSettled))),
        ..Transition::plain(order, OrderAction::Cancel, NOW)
    };
    for id in [2, 3] {
        // The second finds the order cancelled: it does nothing.
        node.writer.commit(&Batch { transitions: vec![cancel(id)], ..Batch::default() }).unwrap();
    }
    let gift = DeadlineStep::Grant(Grace::gift(Some(sale), NOW, 1_000, String::new()));
    for _ in 0..2 {
        // As after an answer that was lost.
        node.writer.move_deadlines(&gift, Some(&act(4, ActKind::CampaignExtended))).unwrap();
    }
    let late = DeadlineStep::Extend { order, pay_before: EpochMs(NOW.0 + 1), at: NOW };
    node.writer.move_deadlines(&late, Some(&act(5, ActKind::OrderExtended))).unwrap();
    node.writer.tell(&[Act { tenant: None, ..act(6, ActKind::ConfigReloaded) }]).unwrap();

    let trail = node.reader.trail_after("default", 0, 100).unwrap();
    let told: Vec<_> = trail.iter().map(|entry| (entry.kind.as_str(), &entry.from, &entry.to)).collect();
    let (running, paused) = (json!({"paused": false}), json!({"paused": true}));
    let (waiting, cancelled) = (json!({"status": "pre_pay"}), json!({"status": "cancelled"}));
    let expected = [
        ("campaign.changed", &running, &paused),
        ("order.settled", &waiting, &cancelled),
        ("campaign.extended", &Value::Null, &Value::Null),
        ("config.reloaded", &Value::Null, &Value::Null),
    ];
    assert_eq!(told, expected);
    assert!(trail.is_sorted_by_key(|entry| entry.seq));
    assert_eq!(trail[0].actor, act(1, ActKind::CampaignChanged).actor);
    assert_eq!(node.reader.trail_after("other", 0, 100).unwrap().len(), 1, "what is about all tenants");
    assert_eq!(node.reader.trail_after("default", trail[2].seq, 100).unwrap(), trail[3..]);
}

#[test]
fn nobody_changes_what_was_told() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut node = Node::open(1, &url);
    let both = [act(1, ActKind::ConfigReloaded), act(2, ActKind::ActRefused)];
    for _ in 0..2 {
        // As after an answer that was lost.
        node.writer.tell(&both).unwrap();
    }
    let database = url.rsplit('/').next().unwrap();
    for change in ["UPDATE seckill.trail SET who = ''", "DELETE FROM seckill.trail", "TRUNCATE seckill.trail"]
    {
        let tried = format!(
            "DO $$ BEGIN {change}; RAISE 'it was changed' USING ERRCODE = 'ZZ000'; \
             EXCEPTION WHEN raise_exception THEN NULL; END $$"
        );
        postgres.query(database, &tried);
    }
    assert_eq!(node.reader.trail_after("default", 0, 9).unwrap().len(), both.len());
}
