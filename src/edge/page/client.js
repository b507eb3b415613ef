// A client of the engine to read and to copy from: what the buyer's page knows and does. What it shows is `page.js`, which runs
// this, and has `note`, `refuse` and `showUnknown`.
//
// What a good client does is all here: it asks the public document that a cache answers, never more often than that says, at
// a random moment within the interval, and not at all while nobody looks. It tells its own turn from its pass. It names each
// attempt to buy (Idempotency-Key) and keeps the name until it has an answer. It comes back when Retry-After says.
"use strict";

const TRIES_MAX = 8; // of one request that meets a busy shop, or none
const WRITTEN_MS = 30000; // by then an order is written down, and every node finds it
const FAR_MS = 60000; // what is so far away is looked at seldom
const SELDOM_MS = 20000;
const REST_MS = 300000; // what is as good as over
const USUAL = { floor_ms: 1000, ceiling_ms: 2000 }; // where no document says how often to look
const OPEN_ORDERS = ["pending", "pre_pay", "paying", "paid", "refunding"];

const main = document.getElementById("main");
const saleUrl = main.dataset.sale;
const words = JSON.parse(main.dataset.words);

// ---- What is kept when the tab sleeps, reloads or is closed ------------------------------------------------------------

const saved = {
  name: "seckill " + saleUrl,
  all: {},
  load() {
    try {
      this.all = JSON.parse(localStorage.getItem(this.name)) || {};
    } catch {
      this.all = {}; // a browser that keeps nothing: the page does, while it is open
    }
  },
  set(changes) {
    Object.assign(this.all, changes);
    try {
      localStorage.setItem(this.name, JSON.stringify(this.all));
    } catch {}
  },
};

// ---- Time: the server's --------------------------------------------------------------------------------------------------

let ahead = -Infinity; // how far the server's clock is ahead of this device's, in ms
const serverNow = () => Date.now() + (ahead === -Infinity ? 0 : ahead);

// A document is as old as caches and the network let it be, so its time is too early and never too late: the latest counts.
function noteTime(text) {
  if (text) ahead = Math.max(ahead, Date.parse(text) - Date.now());
}

let wake = () => {};
/** Waits so long, or until somebody looks at the page again. */
const pause = (ms) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    wake = () => (clearTimeout(timer), resolve());
  });
const isSeen = () =>
  document.hidden ? new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true })) : null;
document.addEventListener("visibilitychange", () => document.hidden || wake());
addEventListener("online", () => wake());

const between = (least, most) => least + Math.random() * (most - least);

// ---- Asking the engine -----------------------------------------------------------------------------------------------------

/** Asks once. A shop that cannot be reached answers with status 0. */
async function ask(method, url, headers = {}, body = undefined) {
  try {
    const answer = await fetch(url, { method, headers: { Accept: "application/json", ...headers }, body });
    const text = await answer.text();
    let document_ = null;
    try {
      document_ = JSON.parse(text);
    } catch {} // an error page of something in between
    const retry = Number(answer.headers.get("Retry-After"));
    return { status: answer.status, body: document_ || {}, retryMs: retry > 0 ? retry * 1000 : null };
  } catch {
    return { status: 0, body: {}, retryMs: null };
  }
}

/** Asks, and again while the shop is busy or away. Whatever is asked so may come twice: the engine does it once. */
async function insist(method, url, headers, body) {
  for (let tries = 1; ; tries += 1) {
    const answer = await ask(method, url, headers, body);
    // One node shows who is admitted a moment before another lets them in.
    const isAhead = tries === 1 && codeOf(answer) === "not-admitted";
    const mayPass = isAhead || [0, 429, 502, 503, 504].includes(answer.status);
    if (!mayPass || tries === TRIES_MAX) return answer;
    const waitMs = answer.retryMs || Math.min(500 * 2 ** tries, 15000);
    const spreadMs = between(waitMs, waitMs * 1.3);
    note(words.labels.retry.replace("{n}", Math.ceil(spreadMs / 1000)));
    await new Promise((resolve) => setTimeout(resolve, spreadMs));
    note(words.labels.working);
  }
}

/** What a refusal is called: its code, or the reason that says more. */
const codeOf = ({ status, body }) =>
  status === 0 ? "unreachable" : body.code === "waiting-room" ? body.reason : body.code || "other";

// ---- The pass: where this buyer stands, told from the public document ------------------------------------------------------

function readPass(text) {
  const bytes = Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return {
    joinedAt: Number(view.getBigInt64(5)),
    expiresAt: Number(view.getBigInt64(13)),
    number: view.getUint32(21),
    who: bytes.slice(25, 41),
    isDrawn: bytes[41] === 1,
  };
}

const priorities = new Map(); // by seed and pass
/** The place in the draw: the first 53 bits of HMAC-SHA256 of the name under the seed. */
async function priorityOf(seed, passText, who) {
  const name = seed + passText;
  if (!priorities.has(name)) {
    const secret = Uint8Array.from(seed.match(/../g), (digits) => parseInt(digits, 16));
    const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    const tag = new DataView(await crypto.subtle.sign("HMAC", key, who));
    priorities.set(name, tag.getUint32(0) * 2 ** 21 + (tag.getUint32(4) >>> 11));
  }
  return priorities.get(name);
}

/** The buyer's standing: whether it may buy, and how many are ahead; null where that is not known. */
async function standing(passText) {
  const pass = readPass(passText);
  if (room.fifo_mark && pass.joinedAt < Date.parse(room.fifo_mark)) return { admitted: true, ahead: 0 };
  // The draw has decided who takes part; until then whoever joins before the start does. A node of the version before tells no time.
  const drawnBefore = room.seed ? room.drawn_at : sale.queue && sale.queue.mode === "draw" && sale.starts_at;
  const isDrawn = room.drawn_at === undefined ? pass.isDrawn : drawnBefore && pass.joinedAt < Date.parse(drawnBefore);
  if (!isDrawn) return { admitted: false, ahead: Math.max(0, pass.number - 1 - room.admitted) };
  // Mixed with public randomness, where a beacon was named.
  const seed = room.beacon ? room.beacon.seed : room.seed;
  if (!seed) return { admitted: false, ahead: null };
  if (!globalThis.crypto || !crypto.subtle) return askedStanding();
  const priority = await priorityOf(seed, passText, pass.who);
  if (priority < room.draw_mark) return { admitted: true, ahead: 0 };
  const place =
    room.draw_mark > 0 ? (room.admitted * priority) / room.draw_mark : (room.registered * priority) / 2 ** 53;
  return { admitted: false, ahead: Math.max(0, Math.round(place) - room.admitted) };
}

let askedAt = -Infinity;
let askedTold = { admitted: false, ahead: null };
/** The same from the engine, where the browser cannot compute it: seldom, for this answer no cache can give. */
async function askedStanding() {
  if (Date.now() - askedAt > SELDOM_MS / 2) {
    askedAt = Date.now();
    const { status, body } = await takePlace(ask);
    if (status === 201) askedTold = { admitted: body.admitted, ahead: Math.max(0, body.position - 1 - room.admitted) };
  }
  return askedTold;
}

// ---- What is known, and which state of the page that is ----------------------------------------------------------------------

let sale = null; // the public state of the sale
let saleReadAt = -Infinity;
let room = null; // the public document of its waiting room
let place = null; // this buyer's standing in it
let order = null; // this buyer's order

function viewOf() {
  if (order) return "order_" + order.status;
  if (!room) return { open: "on_sale", upcoming: "upcoming", paused: "paused", sold_out: "sold_out", ended: "ended" }[sale.state];
  if (["ended", "sold_out", "paused"].includes(room.state)) return room.state;
  if (place && place.admitted && room.state === "open") return "turn";
  if (room.state === "closed") return "closed";
  const draws = sale.queue && sale.queue.mode === "draw" && !room.seed; // once it is made, nobody gets a place by lot
  if (!place) return room.state === "registering" && draws ? "register" : "join";
  if (room.state === "registering" && draws) return "registered";
  if (room.state === "drawing" && place.ahead === null) return "drawing";
  return place.ahead !== null && place.ahead >= room.remaining ? "behind" : "waiting";
}

/** Reads what is new. Answers with how long to wait until the next look, in ms. */
async function look() {
  if (order) {
    const wait = await lookAtOrder();
    if (order) return wait;
  }
  // The room's document does not tell of a new price, or of other terms.
  const staleMs = isBeforeStart() ? SELDOM_MS / 2 : SELDOM_MS;
  if (!sale || !room || Date.now() - saleReadAt > staleMs) {
    const read = await ask("GET", saleUrl);
    if (read.status === 404) {
      sale = room = null;
      judgedIn = undefined;
      return showUnknown();
    }
    if (read.status !== 200) return missed(read);
    sale = read.body;
    saleReadAt = Date.now();
    noteTime(sale.server_time);
  }
  if (sale.queue) {
    const read = await ask("GET", sale.queue.url);
    if (read.status === 404) {
      sale = room = null; // the room is gone: look at the sale again
      judgedIn = undefined;
      return between(USUAL.floor_ms, USUAL.ceiling_ms);
    }
    if (read.status !== 200) return missed(read);
    room = read.body;
    noteTime(room.server_time);
    await stand();
  } else {
    room = place = null;
  }
  if ((room || sale).state === "ended") return REST_MS;
  const poll = (room && room.poll) || USUAL;
  const openingMs = Date.parse((room && room.state === "closed" && sale.queue.opens_at) || sale.starts_at) - serverNow();
  if (isBeforeStart() && openingMs > FAR_MS) return between(SELDOM_MS / 2, SELDOM_MS);
  return between(poll.floor_ms, poll.ceiling_ms);
}

const isBeforeStart = () => (room ? ["closed", "registering"].includes(room.state) : sale && sale.state === "upcoming");

function missed(answer) {
  if (!sale) refuse(codeOf(answer));
  return answer.retryMs || between(2000, 5000);
}

let judgedIn; // by its commitment to a seed: the room for which the engine has judged the pass
let judgeFrom = 0; // when it may be asked to again

/**
 * Finds out where the pass stands. The engine judges it first: it may be of who used this browser before, or of a former sale of
 * this name, and is then exchanged for one of this buyer's own. One that is over is exchanged for one with the same place.
 */
async function stand() {
  place = null;
  // In these states no place makes a difference, and none is given.
  if (!saved.all.pass || ["closed", "sold_out", "ended"].includes(room.state)) return;
  try {
    const isOver = readPass(saved.all.pass).expiresAt <= serverNow();
    // A change of the mode gives and takes the commitment: no reason for all who wait to ask at once.
    const isJudged = () => judgedIn !== undefined && (!judgedIn || !room.seed_commit || judgedIn === room.seed_commit);
    if ((isOver || !isJudged()) && Date.now() >= judgeFrom) await judge();
    if (isJudged()) place = await standing(saved.all.pass);
  } catch {
    saved.set({ pass: null }); // it is none
  }
}

async function judge() {
  const answer = await takePlace(ask);
  if (answer.status !== 201) {
    judgeFrom = Date.now() + (answer.retryMs || SELDOM_MS / 2);
    refuse(codeOf(answer));
  } else if (judgeFrom > 0) {
    judgeFrom = 0;
    refuse(null);
  }
}

async function lookAtOrder() {
  const read = await ask("GET", "/orders/" + order.order_id);
  if (read.status === 401 || read.status === 404) {
    // What one node accepts, another finds when it is written down.
    const { unwrittenSince } = saved.all;
    if (read.status === 404 && unwrittenSince && Date.now() - unwrittenSince < WRITTEN_MS) return between(1000, 2000);
    // Somebody else looks now, or there is no such order; of one that was only remembered there is nothing to say.
    if (order.created_at || unwrittenSince) refuse(codeOf(read));
    order = null;
    // The key stays: if there is an order after all, the next click hears of it and makes no second one.
    saved.set({ order: null, unwrittenSince: null });
    return 0;
  }
  if (read.status !== 200) return missed(read);
  order = read.body;
  if (saved.all.unwrittenSince) saved.set({ unwrittenSince: null });
  if (!OPEN_ORDERS.includes(order.status)) saved.set({ order: null, key: null });
  if (["pending", "paying"].includes(order.status)) return between(1000, 2000);
  return ["pre_pay", "refunding"].includes(order.status) ? between(SELDOM_MS / 2, SELDOM_MS) : REST_MS;
}

// ---- What the buyer does -----------------------------------------------------------------------------------------------------

/** Registers, with the pass if there is one: it keeps its place. */
async function takePlace(asking = insist) {
  const headers = saved.all.pass ? { "X-Sale-Pass": saved.all.pass } : {};
  const answer = await asking("POST", saleUrl + "/queue", headers);
  if (answer.status === 201) {
    saved.set({ pass: answer.body.pass });
    judgedIn = room && room.seed_commit;
  }
  return answer;
}

async function register() {
  const answer = await takePlace();
  if (answer.status !== 201) return refuse(codeOf(answer));
}

async function buy() {
  if (!saved.all.key) saved.set({ key: newKey() });
  const headers = { "Idempotency-Key": saved.all.key };
  if (saved.all.pass) headers["X-Sale-Pass"] = saved.all.pass;
  const answer = await insist("POST", saleUrl, headers);
  const code = codeOf(answer);
  // A turn does not run out.
  if (code === "expired-pass" && (await takePlace()).status === 201) return buy();
  // What the key stood for is something else, or gone.
  if (["idempotency-key-reused", "unknown-order"].includes(code)) saved.set({ key: null });
  if (["invalid-pass", "no-pass"].includes(code)) saved.set({ pass: null });
  // Who holds an order hears of it, whatever was asked.
  const id = code === "unknown-order" ? null : answer.body.order_id;
  if (!id) return refuse(code);
  saved.set({ order: id, unwrittenSince: [200, 201].includes(answer.status) ? null : Date.now() });
  if (answer.status < 300) {
    order = answer.body;
  } else {
    refuse(code);
    order = { order_id: id, status: "pending" };
    await lookAtOrder();
  }
}

async function pay(form) {
  const body = JSON.stringify({ payment_method: form.elements.method.value });
  const url = `/orders/${order.order_id}/checkout`;
  const answer = await insist("POST", url, { "Content-Type": "application/json" }, body);
  if (answer.status < 300 && answer.status > 0) order = answer.body;
  else refuse(codeOf(answer));
}

async function cancel() {
  const answer = await insist("DELETE", "/orders/" + order.order_id);
  if (answer.status === 200) {
    order = answer.body;
    saved.set({ order: null, key: null });
  } else {
    refuse(codeOf(answer));
  }
}

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
