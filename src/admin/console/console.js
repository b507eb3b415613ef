// Keeps the figures of the page fresh. The page is whole without it.
"use strict";

const KEEP_S = 300; // seconds that a chart shows
const ACTS_SHOWN = 10; // acts that the page lists
const STALE_MS = 3000; // older figures are greyed
const history = new Map(); // of each sale: [arrivals, wins, refusals] a second
let heardAt = Date.now();

const apart = (number) => number.toLocaleString("en"); // thousands
const shown = (value) => (typeof value === "number" ? apart(value) : (value ?? "–"));

// A moment, to the second, as the page says it; and what a clock shows here where that is another time.
function clock(at) {
  const time = new Date(at);
  const utc = `${at.slice(0, 10)} ${at.slice(11, 19)} UTC`;
  return time.getTimezoneOffset() === 0 ? utc : `${utc} (${time.toLocaleTimeString()} here)`;
}

// A span of time, as the page says it.
function span(ms) {
  const s = Math.floor(Math.max(0, ms) / 1000);
  if (s < 120) return `${s} seconds`;
  if (s < 7200) return `${Math.floor(s / 60)} minutes`;
  if (s < 172800) return `${Math.floor(s / 3600)} hours and ${Math.floor((s % 3600) / 60)} minutes`;
  return `${Math.floor(s / 86400)} days`;
}

function countdown({ state, starts_at, ends_at }, at) {
  if (state === "upcoming") return "opens in " + span(new Date(starts_at) - at);
  return state === "ended" || !ends_at ? "" : "ends in " + span(new Date(ends_at) - at);
}

function ranked(byCode) {
  const all = Object.entries(byCode).sort((a, b) => b[1] - a[1]);
  return all.length ? "refused: " + all.map(([code, rate]) => `${code} ${apart(rate)}/s`).join(", ") : "nobody is refused";
}

function waiting(room) {
  if (!room) return "–";
  const absent = Math.round(room.no_show_share * 100);
  return `waiting room ${room.state}: ${room.registered} registered, ${room.admitted} admitted, ${absent} % of them do not come, ${room.rate_per_s} a second`;
}

const WORDS = {
  waiting_room: waiting,
  conserved: (agree) => (agree === null ? "not counted yet" : agree ? "agree" : "DO NOT AGREE"),
  refusals_per_s: ranked,
  sold_out_in_s: (s) => (s === null ? "–" : span(s * 1000)),
};

function set(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

function showSale(card, sale, acts, at) {
  for (const element of card.querySelectorAll("[data-f]")) {
    const name = element.dataset.f;
    set(element, (WORDS[name] || shown)(sale[name]));
    if (name === "state") element.className = "state " + sale.state;
    if (name === "refusals_per_s") element.classList.toggle("refusals", Object.keys(sale[name]).length > 0);
  }
  set(card.querySelector(".countdown"), countdown(sale, at));
  const refused = Object.values(sale.refusals_per_s).reduce((sum, rate) => sum + rate, 0);
  const rows = history.get(card.dataset.sale) || [];
  rows.push([sale.arrivals_per_s, sale.wins_per_s, refused]);
  if (rows.length > KEEP_S) rows.shift();
  history.set(card.dataset.sale, rows);
  const concerns = (act) =>
    act.object === `${sale.campaign}/${sale.sku}`
      ? act.tenant === sale.tenant
      : act.act.startsWith("sales.") && (act.tenant === null || act.tenant === sale.tenant);
  draw(card.querySelector(".chart"), rows, acts.filter(concerns), at);
}

// An act of an operator: an upright line where it was done.
function mark(act, at) {
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  const x = (KEEP_S - (at - new Date(act.at)) / 1000).toFixed(1);
  for (const [name, value] of Object.entries({ class: "mark", x1: x, x2: x, y1: 0, y2: 100 })) line.setAttribute(name, value);
  const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
  title.textContent = told(act);
  line.append(title);
  return line;
}

const told = (act) => [clock(act.at), act.who, act.act, act.object, act.reason].filter(Boolean).join(" ");

// A scale on which ten times as many are always equally far.
const height = (rate) => Math.log10(1 + rate);
const DECADES = [1, 10, 100, 1e3, 1e4, 1e5, 1e6];

// A line of the grid at so many a second.
function gridline(rate, top) {
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  const y = (99 - (98 * height(rate)) / top).toFixed(1);
  for (const [name, value] of Object.entries({ class: "grid", x1: 0, x2: 300, y1: y, y2: y })) line.setAttribute(name, value);
  return line;
}

function draw(svg, rows, acts, at) {
  const top = Math.max(1, ...rows.flat().map(height));
  svg.setAttribute("viewBox", "0 0 300 100");
  svg.setAttribute("preserveAspectRatio", "none");
  const lines = ["arrivals", "wins", "refusals"].map((name, at) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    const first = KEEP_S - rows.length;
    const points = rows.map((row, second) => `${first + second},${(99 - (98 * height(row[at])) / top).toFixed(1)}`);
    line.setAttribute("class", name);
    line.setAttribute("points", points.join(" "));
    return line;
  });
  const grid = DECADES.filter((rate) => height(rate) <= top);
  svg.replaceChildren(...grid.map((rate) => gridline(rate, top)), ...lines, ...acts.map((act) => mark(act, at)));
  set(svg.parentElement.querySelector(".scale"), grid.length ? `Level lines: ${grid.map(apart).join(", ")} a second.` : "");
  svg.classList.add("drawn");
  const last = rows[rows.length - 1];
  svg.setAttribute(
    "aria-label",
    `The last ${rows.length} seconds, on a logarithmic scale. Now: ${last[0]} arrivals, ${last[1]} wins, ${last[2]} refusals a second.` +
      acts.map((act) => ` Act: ${told(act)}.`).join(""),
  );
}

function showPaths(paths) {
  for (const [name, windows] of Object.entries(paths)) {
    const cells = document.querySelectorAll(`tr[data-path="${name}"] td`);
    const ms = (us) => (us / 1000).toFixed(2);
    const { second, minute } = windows;
    [shown(second.count), ms(second.p50_us), ms(second.p99_us), ms(minute.p99_us)].forEach((text, at) => set(cells[at], text));
  }
}

// What selling stands on, in the words of the engine.
function showDependencies(dependencies) {
  for (const { name, state, said } of dependencies) {
    const cell = document.querySelector(`tr[data-dependency="${name}"] td`);
    set(cell, said);
    if (cell) cell.classList.toggle("wrong", state === "wrong");
  }
}

function cell(kind, value) {
  const element = document.createElement(kind);
  element.textContent = shown(value);
  return element;
}

function showNodes(nodes) {
  const rows = nodes.map(({ node, arrivals_per_s, wins_per_s, queue_depth, uptime_s }) => {
    const row = document.createElement("tr");
    const name = cell("th", String(node)); // a name, not a count
    name.scope = "row";
    row.append(name, ...[arrivals_per_s, wins_per_s, queue_depth, uptime_s].map((value) => cell("td", value)));
    return row;
  });
  document.querySelector("#nodes tbody").replaceChildren(...rows);
}

function showHealth(troubles) {
  const element = document.getElementById("health");
  const codes = troubles.map((trouble) => trouble.code).join(" ");
  if (element.dataset.codes === undefined) element.dataset.codes = codes;
  // What is wrong is said by the page itself: it is asked for anew when that changes.
  if (element.dataset.codes !== codes) location.reload();
}

function show(snapshot) {
  heardAt = Date.now();
  set(document.getElementById("age"), clock(snapshot.at));
  const cards = new Map([...document.querySelectorAll("[data-sale]")].map((card) => [card.dataset.sale, card]));
  for (const sale of snapshot.sales) {
    const card = cards.get(`/sales/${sale.tenant}/${sale.campaign}/${sale.sku}`);
    if (card) {
      const before = card.dataset.state || card.querySelector('[data-f="state"]').textContent;
      card.dataset.state = sale.state;
      showSale(card, sale, snapshot.acts, new Date(snapshot.at));
      // Other acts are offered in another state.
      if (before !== sale.state && !card.contains(document.activeElement)) location.reload();
    } else if (cards.size < 20) {
      location.reload();
    }
  }
  const items = snapshot.acts.slice(0, ACTS_SHOWN).map((act) => {
    const item = document.createElement("li");
    item.textContent = told(act);
    return item;
  });
  document.getElementById("acts").replaceChildren(...items);
  showPaths(snapshot.paths);
  showNodes(snapshot.nodes);
  showDependencies(snapshot.dependencies ?? []); // an engine of the version before has none
  showHealth(snapshot.health);
}

for (const time of document.querySelectorAll("time[data-time]")) {
  set(time, clock(time.dateTime));
}

const about = document.querySelector(".about");
setInterval(() => about.classList.toggle("stale", Date.now() - heardAt > STALE_MS), 500);
new EventSource("/api/v1/live").addEventListener("snapshot", (event) => show(JSON.parse(event.data)));
