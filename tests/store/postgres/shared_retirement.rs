//! Sales that end where several engines have them: no book is opened any more, all of them move orders, and what is asked about a
//! sale costs its own orders.

use seckill::domain::{NewOrder, OrderId, SaleId};
use seckill::orders::postgres::Exclusivity;
use seckill::orders::{
    Batch, LeaseStore, LeftBook, OrderFilter, RetirementReceipt, StoreReader, StoreWriter, TenantSales,
};
use testbed::servers::postgres::Postgres;

use super::node::{NOW, Node, key, settings};
use super::retirement::{ORDERS, STEP, archive, committed, delete, end, sale_that_is_over};

#[test]
fn o9_no_book_of_a_sale_that_has_ended_is_opened_and_the_next_sale_of_its_name_begins_above() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut node = Node::open_as(1, &settings(&url), Exclusivity::Shared).unwrap();
    let [gone, kept, live] = ["a", "b", "c"].map(|name| node.sale(name, 10, 1));
    end(&mut node, kept);
    assert_eq!(node.lease_store.end_epoch(gone, 1).unwrap(), Some(2));
    let books = |node: &Node, ended: &[SaleId]| node.lease_store.left_books(ended, 9).unwrap();
    assert_eq!(books(&node, &[live]), []);
    assert!(matches!(delete(&mut node, gone), RetirementReceipt::Done(_)));
    assert!(matches!(archive(&mut node, kept, 0), RetirementReceipt::Done(_)));
    for ended in [gone, kept] {
        assert_eq!(node.lease_store.end_epoch(ended, 7).unwrap(), None);
        assert_eq!(node.lease_store.units(ended).unwrap(), None);
    }
    let known = node.lease_store.units_of(&[kept, live, gone]).unwrap();
    assert_eq!(known.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
    // Who audits it sees its units all the same.
    assert_eq!(node.lease_store.audit(kept).unwrap().map(|(audit, _)| audit.total), Some(10));

    let of = |sale, name, last_epoch| LeftBook { sale, key: key(name), last_epoch };
    let both = [of(gone, "a", 2), of(kept, "b", 1)];
    assert_eq!(books(&node, &[]), both);
    assert_eq!(node.lease_store.left_books(&[], 1).unwrap(), both[..1]);
    node.lease_store.books_forgotten(&[gone, live]).unwrap();
    assert_eq!(books(&node, &[]), both[1..]);
    assert_eq!(books(&node, &[gone]), both, "who lent it forgets it, too");

    let again = node.sale("a", 10, 1);
    assert_eq!(node.lease_store.units(again).unwrap().map(|units| units.epoch), Some(3));
    assert!(matches!(delete(&mut node, again), RetirementReceipt::Done(_)));
    let third = node.sale("a", 10, 1);
    assert_eq!(node.lease_store.units(third).unwrap().map(|units| units.epoch), Some(4));
    assert_eq!(node.lease_store.units(live).unwrap().map(|units| units.epoch), Some(1));
}

#[test]
fn o9_engines_that_move_orders_together_wait_for_nobody_and_what_comes_late_moves_too() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    let mut node = Node::open(1, &url);
    let (sale, _, orders, paid) = sale_that_is_over(&mut node);
    let id = OrderId::from_tick(OrderId::tick_at(NOW) - 1, node.id);
    let early = NewOrder { id, ..node.order(sale, "early", 1, None) };
    assert!(matches!(archive(&mut node, sale, paid), RetirementReceipt::Done(_)));
    assert_eq!(node.reader.moving_sales().unwrap(), [sale]);
    let at_it = "BEGIN; SELECT FROM seckill.sales WHERE moved_through IS NOT NULL FOR NO KEY UPDATE";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (client, driver) = runtime.block_on(tokio_postgres::connect(&url, tokio_postgres::NoTls)).unwrap();
    let driver = runtime.spawn(driver);
    runtime.block_on(client.batch_execute(at_it)).unwrap();
    assert_eq!(node.writer.move_archived(STEP).unwrap(), 0, "another engine is at it");
    assert_eq!(node.reader.moving_sales().unwrap(), [sale]);
    runtime.block_on(client.batch_execute("COMMIT")).unwrap();
    drop(client);
    runtime.block_on(driver).unwrap().unwrap();
    assert_eq!(node.writer.move_archived(STEP).unwrap(), STEP);
    // A purchase that another node had under way at the end is written down as refused.
    let rejected = vec![early];
    committed(node.writer.commit(&Batch { rejected, ..Batch::default() }).unwrap());
    while node.writer.move_archived(STEP).unwrap() > 0 {}
    assert_eq!(node.reader.moving_sales().unwrap(), []);
    let left = format!("SELECT count(*) FROM seckill.orders WHERE sale_id = {}", sale.0);
    assert_eq!(postgres.query(database, &left), "0");
    let found = node.reader.orders_after(Some(sale), None, 1_000).unwrap();
    assert_eq!(found.len(), orders.len() + 1);
}

#[test]
fn o7_what_is_asked_about_one_sale_reads_the_orders_of_no_other() {
    const OTHERS: usize = 20_000;
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    let mut node = Node::open(1, &url);
    let (sale, other, orders, paid) = sale_that_is_over(&mut node);
    for (table, above) in [("orders", 0), ("archived_orders", OTHERS)] {
        postgres.query(
            database,
            &format!(
                "INSERT INTO seckill.{table} (order_id, amount_cents, created_at_ms, pay_before_ms, sale_id, quantity, \
                 status, step_node, buyer) SELECT (SELECT max(order_id) FROM seckill.orders) + {above} + n, 500, 0, 0, {}, \
                 1, 4, 1, 'buyer-' || n FROM generate_series(1, {OTHERS}) AS n; ANALYZE seckill.{table}",
                other.0
            ),
        );
    }
    let filter = OrderFilter { sale: Some(sale), ..OrderFilter::default() };
    let (tenant, campaign, sku) = ("default".to_owned(), None, Some("a".to_owned()));
    let by_name =
        OrderFilter { sales: Some(TenantSales { tenant, campaign, sku }), ..OrderFilter::default() };
    let everything = OrderId::from_number(u64::MAX >> 1).unwrap();
    let ask = |node: &Node| {
        assert_eq!(node.reader.audit(sale).unwrap().unwrap().paid, u64::from(paid));
        let through = *orders.last().unwrap();
        assert_eq!(node.reader.complete_orders(&filter, None, 1_000, through).unwrap().orders.len(), ORDERS);
        // So often that the server plans it once for all.
        for _ in 0..8 {
            let found = node.reader.complete_orders(&filter, None, 1_000, everything).unwrap();
            assert_eq!((found.orders.len(), found.looked_through), (ORDERS, everything));
        }
        let found = node.reader.complete_orders(&by_name, None, 1_000, everything).unwrap();
        assert_eq!((found.orders.len(), found.looked_through), (ORDERS, everything));
        assert_eq!(node.reader.orders_after(Some(sale), None, 1_000).unwrap().len(), ORDERS);
    };
    ask(&node);
    assert_eq!(delete(&mut node, sale), RetirementReceipt::HasOrders);
    // An empty one is looked for as well, before it goes.
    let empty = node.sale("e", 5, 1);
    assert!(matches!(delete(&mut node, empty), RetirementReceipt::Done(_)));
    assert!(matches!(archive(&mut node, sale, paid), RetirementReceipt::Done(_)));
    while node.writer.move_archived(STEP).unwrap() > 0 {}
    ask(&node);
    // What a session has counted is told when it ends.
    drop(node);
    for index in ["orders_by_sale", "archived_orders_by_sale"] {
        let used = format!(
            "SELECT coalesce(sum(idx_scan), 0) > 0 FROM pg_stat_user_indexes WHERE indexrelname = '{index}'"
        );
        testbed::until(index, || postgres.query(database, &used) == "t");
    }
    let read = format!(
        "SELECT sum(seq_tup_read) < {OTHERS} FROM pg_stat_user_tables WHERE relname IN ('orders', 'archived_orders')"
    );
    assert_eq!(postgres.query(database, &read), "t", "no table of orders was read from end to end");
    let read = format!(
        "SELECT sum(idx_tup_read) < {OTHERS} FROM pg_stat_user_indexes \
         WHERE indexrelname IN ('orders_pkey', 'archived_orders_pkey')"
    );
    assert_eq!(postgres.query(database, &read), "t", "nor by the numbers of all orders");
    let plan = postgres.query(
        database,
        &format!(
            "EXPLAIN SELECT count(*) FROM seckill.all_orders WHERE sale_id::bigint = {}::integer",
            sale.0
        ),
    );
    assert!(!plan.contains("Seq Scan on orders"), "{plan}");
}
