//! A small shop that speaks the contract, with switches for misbehaving in known ways: the tester is judged by
//! whether it finds them. One thread a connection, everything in memory, nothing shared with the tester's code.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How the shop behaves.
#[derive(Debug, Clone, Default)]
pub struct Habits {
    /// Sells this many units more than it has, and books them as sold all the same.
    pub oversell_units: u64,
    /// Forgets every n-th order after answering 201.
    pub lose_every: Option<u64>,
    /// Lets a buyer buy again and again.
    pub ignore_limit: bool,
    /// Tells holders of an order that everything is sold out.
    pub deny_holders: bool,
    /// Answers 200 to payments and does not book them.
    pub forget_payments: bool,
    /// Answers every n-th purchase with 202 and stores it a moment later.
    pub pending_every: Option<u64>,
    /// Closes the connection instead of answering every n-th purchase, after storing the order.
    pub hang_up_every: Option<u64>,
    /// Stands still for the second time, once in each of the first time.
    pub stall: Option<(Duration, Duration)>,
    /// Serves at most this many requests a second, one after the other.
    pub capacity_per_s: Option<f64>,
    /// Does not answer at all.
    pub deaf: bool,
    /// Serves only who knows this secret.
    pub origin_secret: Option<&'static str>,
    /// Calls itself sold out with this many units left.
    pub strand_units: u64,
    /// Tells every buyer to come back later.
    pub limited: bool,
    /// Closes the connection instead of selling, from the first of these purchases up to the second.
    pub away: Option<(u64, u64)>,
    /// Is gone for good after this many purchases.
    pub dies_after: Option<u64>,
}

struct Order {
    id: String,
    buyer: String,
    quantity: u64,
    status: &'static str,
}

#[derive(Default)]
struct Sale {
    stock: u64,
    limit: u64,
    ended: bool,
    orders: Vec<Order>,
}

impl Sale {
    fn active(&self, buyer: Option<&str>) -> u64 {
        let holds =
            |order: &&Order| order.status != "cancelled" && buyer.is_none_or(|buyer| buyer == order.buyer);
        self.orders.iter().filter(holds).map(|order| order.quantity).sum()
    }
}

#[derive(Default)]
struct Books {
    sales: HashMap<String, Sale>,
    /// Order id to its sale and place.
    index: HashMap<String, (String, usize)>,
    active_units: HashMap<String, u64>,
    purchases: u64,
    dead: Arc<AtomicBool>,
    served_until: Option<Instant>,
}

/// A running shop; it ends with the test process.
pub struct Shop {
    pub url: String,
    /// Connections that each of its addresses has accepted.
    pub accepted: Vec<Arc<AtomicU64>>,
    books: Arc<Mutex<Books>>,
}

struct Request {
    method: String,
    path: String,
    buyer: String,
    origin_secret: String,
    body: Vec<u8>,
    close: bool,
}

impl Shop {
    pub fn open(habits: Habits) -> Self {
        Self::open_at(habits, &["127.0.0.1"])
    }

    /// One shop at several addresses, on one port.
    pub fn open_at(habits: Habits, hosts: &[&str]) -> Self {
        let first = TcpListener::bind((hosts[0], 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let others = hosts[1..].iter().map(|host| TcpListener::bind((*host, port)).unwrap());
        let started = Instant::now();
        let books = Arc::new(Mutex::new(Books::default()));
        let mut accepted = Vec::new();
        for listener in std::iter::once(first).chain(others) {
            let (books, habits, count) = (Arc::clone(&books), habits.clone(), Arc::new(AtomicU64::new(0)));
            accepted.push(Arc::clone(&count));
            std::thread::spawn(move || keep_open(&listener, &books, &habits, started, &count));
        }
        Self { url: format!("http://{}:{port}", hosts[0]), accepted, books }
    }

    /// Purchases that it was asked for.
    pub fn purchases(&self) -> u64 {
        self.books.lock().unwrap().purchases
    }
}

fn keep_open(
    listener: &TcpListener,
    books: &Arc<Mutex<Books>>,
    habits: &Habits,
    started: Instant,
    accepted: &AtomicU64,
) {
    let dead = Arc::clone(&books.lock().unwrap().dead);
    for stream in listener.incoming().flatten() {
        if dead.load(Ordering::SeqCst) {
            return;
        }
        accepted.fetch_add(1, Ordering::SeqCst);
        let (books, habits) = (Arc::clone(books), habits.clone());
        let serve = move || serve(stream, &books, &habits, started);
        // Out of threads: the connection is dropped, which is what a full shop does.
        let _ = std::thread::Builder::new().stack_size(128 * 1024).spawn(serve);
    }
}

fn serve(stream: TcpStream, books: &Mutex<Books>, habits: &Habits, started: Instant) {
    let _ = stream.set_nodelay(true);
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let data_plane = !request.path.starts_with("/api/");
        // A first look, not a purchase.
        let looks = request.body == br#"{"quantity":0}"#;
        if data_plane && request.method != "GET" && !looks {
            wait_as_habits_say(books, habits, started);
        }
        let answer = answer(&request, books, habits);
        if answer.is_null() {
            return;
        }
        let (status, body) = (answer["status"].as_u64().unwrap(), &answer["body"]);
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let close = if request.close { "Connection: close\r\n" } else { "" };
        let head =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{close}Retry-After: 0\r\n\r\n", body.len());
        if writer.write_all(format!("{head}{body}").as_bytes()).is_err() || request.close {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut request = Request {
        method,
        path,
        buyer: String::new(),
        origin_secret: String::new(),
        body: Vec::new(),
        close: false,
    };
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|read| *read > 0)?;
        let header = header.trim_end();
        match header.split_once(": ") {
            None => break,
            Some(("X-User-ID", buyer)) => request.buyer = buyer.to_owned(),
            Some(("X-Origin-Secret", secret)) => request.origin_secret = secret.to_owned(),
            Some(("Content-Length", length)) => request.body = vec![0; length.parse().ok()?],
            Some(("Connection", "close")) => request.close = true,
            Some(_) => {}
        }
    }
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

fn wait_as_habits_say(books: &Mutex<Books>, habits: &Habits, started: Instant) {
    if let Some((period, length)) = habits.stall {
        let into = Duration::from_nanos((started.elapsed().as_nanos() % period.as_nanos()) as u64);
        std::thread::sleep(length.saturating_sub(into));
    }
    if let Some(capacity_per_s) = habits.capacity_per_s {
        let until = {
            let mut books = books.lock().unwrap();
            let from = books.served_until.unwrap_or(started).max(Instant::now());
            let until = from + Duration::from_secs_f64(1.0 / capacity_per_s);
            books.served_until = Some(until);
            until
        };
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }
    if habits.deaf {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn reply(status: u64, body: Value) -> Value {
    json!({ "status": status, "body": body })
}

fn problem(status: u64, code: &str) -> Value {
    reply(status, json!({ "type": "about:blank", "code": code }))
}

fn answer(request: &Request, books: &Mutex<Books>, habits: &Habits) -> Value {
    let mut books = books.lock().unwrap();
    if books.dead.load(Ordering::SeqCst) {
        return Value::Null;
    }
    let from_outside = !request.path.starts_with("/api/");
    if from_outside && habits.origin_secret.is_some_and(|secret| secret != request.origin_secret) {
        return problem(403, "forbidden");
    }
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["api", "v1", "campaigns"]) => open_campaign(&mut books, &request.body),
        ("PATCH", ["api", "v1", "campaigns", campaign, sku]) => {
            let change: Value = serde_json::from_slice(&request.body).unwrap();
            let sale = books.sales.get_mut(&format!("{campaign}/{sku}")).unwrap();
            sale.stock = change["stock"].as_u64().unwrap_or(sale.stock);
            sale.ended = change["open"] != true;
            reply(200, json!({}))
        }
        ("GET", ["api", "v1", "campaigns", campaign, sku, "audit"]) => {
            audit(&books, &format!("{campaign}/{sku}"))
        }
        ("GET", ["api", "v1", "orders"]) => export(&books, query),
        ("GET", ["seckill", campaign, sku]) => {
            if books.sales.contains_key(&format!("{campaign}/{sku}")) {
                reply(200, json!({ "campaign": campaign, "state": "open" }))
            } else {
                problem(404, "unknown-sale")
            }
        }
        ("POST", ["seckill", campaign, sku]) => {
            purchase(&mut books, &format!("{campaign}/{sku}"), request, habits)
        }
        (method, ["orders", id, rest @ ..]) => {
            let Some((sale, place)) = books.index.get(*id).cloned() else {
                return problem(404, "unknown-order");
            };
            let order = &mut books.sales.get_mut(&sale).unwrap().orders[place];
            if order.buyer != request.buyer {
                return problem(404, "unknown-order");
            }
            match (method, rest, order.status) {
                ("GET", [], _) => {}
                ("POST", ["checkout"], "pre_pay" | "paid") if habits.forget_payments => {}
                ("POST", ["checkout"], "pre_pay" | "paid") => order.status = "paid",
                ("DELETE", [], "pre_pay" | "cancelled") => {
                    if order.status == "pre_pay" {
                        order.status = "cancelled";
                        let quantity = order.quantity;
                        *books.active_units.get_mut(&sale).unwrap() -= quantity;
                    }
                }
                ("DELETE", [], _) => return problem(409, "order-paid"),
                _ => return problem(409, "order-cancelled"),
            }
            let order = &books.sales[&sale].orders[place];
            reply(200, json!({ "order_id": order.id, "status": order.status }))
        }
        _ => problem(404, "unknown-route"),
    }
}

fn open_campaign(books: &mut Books, body: &[u8]) -> Value {
    let wish: Value = serde_json::from_slice(body).unwrap();
    let name = format!("{}/{}", wish["campaign"].as_str().unwrap(), wish["sku"].as_str().unwrap());
    let (stock, limit) = (wish["stock"].as_u64().unwrap(), wish["per_buyer_limit"].as_u64().unwrap());
    books.active_units.insert(name.clone(), 0);
    books.sales.insert(name, Sale { stock, limit, ..Sale::default() });
    reply(201, json!({}))
}

fn purchase(books: &mut Books, name: &str, request: &Request, habits: &Habits) -> Value {
    let wish: Value = serde_json::from_slice(&request.body).unwrap_or(json!({}));
    let quantity = wish["quantity"].as_u64().unwrap_or(1);
    if request.buyer.is_empty() {
        return problem(401, "unauthorized");
    }
    if quantity == 0 {
        return problem(422, "quantity-not-allowed");
    }
    books.purchases += 1;
    let number = books.purchases;
    if habits.dies_after.is_some_and(|last| number > last) {
        books.dead.store(true, Ordering::SeqCst);
        return Value::Null;
    }
    if habits.away.is_some_and(|(from, to)| (from..to).contains(&number)) {
        return Value::Null;
    }
    if habits.limited {
        return problem(429, "rate-limited");
    }
    let active = books.active_units[name];
    let sale = books.sales.get_mut(name).unwrap();
    if sale.ended {
        return problem(410, "sale-ended");
    }
    let sold_out = active + quantity > sale.stock + habits.oversell_units - habits.strand_units;
    if let Some(order) =
        sale.orders.iter().find(|o| sale.limit == 1 && o.buyer == request.buyer && o.status != "cancelled")
        && !habits.ignore_limit
    {
        if habits.deny_holders {
            return problem(409, "sold-out");
        }
        return reply(409, json!({ "code": "already-purchased", "order_id": order.id }));
    }
    if sold_out {
        return problem(409, "sold-out");
    }
    if !habits.ignore_limit && sale.limit > 1 && sale.active(Some(&request.buyer)) + quantity > sale.limit {
        return problem(409, "already-purchased");
    }
    let id = format!("o-{number:08}");
    let every = |n: Option<u64>| n.is_some_and(|n| number.is_multiple_of(n));
    let answer = json!({ "order_id": id, "buyer": request.buyer, "quantity": quantity, "status": "pre_pay" });
    if every(habits.lose_every) {
        return reply(201, answer);
    }
    let order = Order { id: id.clone(), buyer: request.buyer.clone(), quantity, status: "pre_pay" };
    sale.orders.push(order);
    let place = (name.to_owned(), sale.orders.len() - 1);
    books.index.insert(id.clone(), place);
    *books.active_units.get_mut(name).unwrap() += quantity;
    if every(habits.hang_up_every) {
        return Value::Null;
    }
    if every(habits.pending_every) {
        return reply(202, json!({ "order_id": id, "status": "pending" }));
    }
    reply(201, answer)
}

fn audit(books: &Books, name: &str) -> Value {
    let sale = &books.sales[name];
    let units = |status: &str| -> u64 {
        sale.orders.iter().filter(|order| order.status == status).map(|order| order.quantity).sum()
    };
    let (held, paid) = (units("pre_pay"), units("paid"));
    let sold = held + paid;
    // A shop that misbehaves does not confess: it calls its books balanced and nobody over the limit.
    let total = sale.stock.max(sold);
    reply(
        200,
        json!({
            "total": total, "available": total - sold, "leased": 0, "held": held, "paid": paid, "sold": sold,
            "durable_orders": sale.orders.len(), "buyers_over_limit": 0, "conserved": true,
        }),
    )
}

fn export(books: &Books, query: &str) -> Value {
    let key = |name: &str| {
        let value =
            query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).unwrap_or_default();
        value.to_owned()
    };
    let sale = &books.sales[&format!("{}/{}", key("campaign"), key("sku"))];
    let (after, limit) = (key("after"), key("limit").parse::<usize>().unwrap().min(100));
    let from = sale.orders.partition_point(|order| order.id <= after);
    let rows = sale.orders[from..].iter().take(limit).map(|order| {
        let row = json!({
            "order_id": order.id, "buyer": order.buyer, "quantity": order.quantity, "status": order.status,
        });
        format!("{row}\n")
    });
    reply(200, Value::String(rows.collect()))
}
