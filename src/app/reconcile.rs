//! `seckill reconcile --check`: prints the books of every sale and how far they are apart. Looks only.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use crate::config::Settings;
use crate::domain::{NodeId, Sale, SaleUnits};
use crate::ledger::lease::{Book, Drift, compare_outside};
use crate::ledger::redis::{KeyNames, RedisBooks, RedisLink};
use crate::orders::postgres::{self, PgLeaseStore, PgReader};
use crate::orders::{LeaseStore, StoreReader};
use crate::terminal;

/// How often the books are read before a difference is believed: what nodes sell takes one round of theirs to be settled.
const LOOKS_MAX: usize = 4;
/// How long a node may take to show what it has in memory.
const NODE_PATIENCE: Duration = Duration::from_secs(5);

/// Compares ledger and store of every sale and, of each node whose admin address is in `admins`, its memory. Prints what
/// it finds and says whether all agree.
///
/// # Errors
/// What could not be read, and why.
pub fn check(settings: &Settings, admins: &[String]) -> Result<bool, Box<dyn Error>> {
    if !settings.is_shared() {
        return Err("redis.url is not set: an engine that sells alone has no ledger beside its own memory; ask it with \
                    GET /api/v1/reconcile on its admin address"
            .into());
    }
    let node = NodeId::new(settings.node.id).ok_or("node.id is too high")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (reader, lease_store, history) = postgres::look(&settings.postgres, node)?;
    let books = RedisBooks::new(RedisLink::new(&settings.redis)?).named(KeyNames::of(&history.read()?));
    let onlooker = Onlooker { runtime, reader, lease_store, books, settings, admins };
    let mut looked = onlooker.look()?;
    for _ in 1..LOOKS_MAX {
        if looked.is_equal {
            break;
        }
        std::thread::sleep(Duration::from_millis(settings.ledger.reconcile_ms));
        looked = onlooker.look()?;
    }
    terminal::print(&looked.text).map_err(|error| format!("the books cannot be printed: {error}"))?;
    Ok(looked.is_equal)
}

struct Onlooker<'a> {
    runtime: tokio::runtime::Runtime,
    reader: PgReader,
    lease_store: PgLeaseStore,
    books: RedisBooks,
    settings: &'a Settings,
    admins: &'a [String],
}

/// What one look saw.
struct Looked {
    text: String,
    is_equal: bool,
}

impl Onlooker<'_> {
    fn look(&self) -> Result<Looked, Box<dyn Error>> {
        let sales = self.reader.sales()?;
        let tenants: BTreeSet<&str> = sales.iter().map(|sale| sale.key.tenant()).collect();
        let mut memories = Vec::new();
        for admin in self.admins {
            for tenant in &tenants {
                memories.extend(self.memories(admin, tenant)?);
            }
        }
        let (mut looked, mut apart) = (Looked { text: String::new(), is_equal: true }, 0);
        for sale in &sales {
            // The store first: what is settled meanwhile is in the ledger at the earliest when it is in the store.
            let Some(store) = self.lease_store.units(sale.id)? else {
                continue;
            };
            let book = self.runtime.block_on(self.books.read(&sale.key))?;
            let drift = compare_outside(&book, &store);
            let here: Vec<_> = memories.iter().filter(|memory| memory.is_of(sale)).collect();
            let is_equal = drift.is_none() && here.iter().all(|memory| memory.drift == 0);
            apart += usize::from(!is_equal);
            looked.is_equal &= is_equal;
            // Writing to a text does not fail.
            let _ = describe(&mut looked.text, sale, &store, &book, &drift, &here);
        }
        let _ = writeln!(looked.text, "{} sales, {apart} with drift", sales.len());
        Ok(looked)
    }

    /// What the node at `admin` has in memory of the tenant's sales.
    fn memories(&self, admin: &str, tenant: &str) -> Result<Vec<NodeMemory>, String> {
        let url = format!("{}/api/v1/reconcile", admin.trim_end_matches('/'));
        let asked = async {
            let client = reqwest::Client::builder().timeout(NODE_PATIENCE).build()?;
            let mut request = client.get(&url).header("X-Tenant-ID", tenant);
            if !self.settings.admin.token.is_empty() {
                request = request.bearer_auth(self.settings.admin.token.expose());
            }
            request.send().await?.error_for_status()?.json::<Value>().await
        };
        let answer = self.runtime.block_on(asked).map_err(|error| format!("{admin}: {error}"))?;
        let sales = answer["sales"].as_array().cloned().unwrap_or_default();
        Ok(sales.iter().filter_map(|sale| NodeMemory::of(&answer["node"], sale)).collect())
    }
}

/// What a running node has in memory of a sale.
struct NodeMemory {
    node: u64,
    name: [String; 3],
    on_sale: u64,
    in_flight: u64,
    held: u64,
    drift: i64,
}

impl NodeMemory {
    fn of(node: &Value, sale: &Value) -> Option<Self> {
        let memory = &sale["memory"];
        Some(Self {
            node: node.as_u64()?,
            name: [&sale["tenant"], &sale["campaign"], &sale["sku"]]
                .map(|part| part.as_str().unwrap_or_default().to_owned()),
            on_sale: memory["on_sale"].as_u64()?,
            in_flight: memory["in_flight"].as_u64()?,
            held: memory["held"].as_u64()?,
            drift: sale["drift"]["memory"].as_i64()?,
        })
    }

    fn is_of(&self, sale: &Sale) -> bool {
        let key = &sale.key;
        self.name == [key.tenant(), key.campaign(), key.sku()]
    }
}

fn describe(
    text: &mut String,
    sale: &Sale,
    store: &SaleUnits,
    book: &Book,
    drift: &Drift,
    memories: &[&NodeMemory],
) -> std::fmt::Result {
    writeln!(text, "{}", sale.key)?;
    writeln!(
        text,
        "  store   epoch {}, total {}, sold {}, returned {}",
        store.epoch, store.total, store.sold, store.returned
    )?;
    for (node, units) in &store.settled {
        let share = store.granted_to(*node);
        writeln!(text, "    node {}: {units} units ever durable, of a share of {share}", node.number())?;
    }
    let state = if drift.lost { " (not valid: it is counted anew)" } else { "" };
    writeln!(
        text,
        "  ledger  epoch {}, total {}, available {}, leased {}, sold {}{state}",
        book.epoch,
        book.total,
        book.available(),
        book.leased(),
        book.sold()
    )?;
    for (node, account) in &book.accounts {
        let awaited = if account.awaited { ", has not said what it holds" } else { "" };
        writeln!(
            text,
            "    node {}: granted {}, handed back {}, settled {}, leased {}{awaited}",
            node.number(),
            account.granted,
            account.handed_back,
            account.settled,
            account.leased()
        )?;
    }
    for memory in memories {
        let NodeMemory { node, on_sale, in_flight, held, drift, .. } = memory;
        writeln!(
            text,
            "  memory  node {node}: on sale {on_sale}, in flight {in_flight}, held {held}, drift {drift}"
        )?;
    }
    let kinds = drift.kinds().into_iter().filter(|(kind, _)| *kind != "memory");
    let kinds: Vec<_> = kinds.map(|(kind, units)| format!("{kind} {units}")).collect();
    writeln!(text, "  drift   {}", kinds.join(", "))
}
