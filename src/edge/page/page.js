// The buyer's page, run by a script: what it shows of what `client.js` knows, and when that looks and acts. The page is whole
// without either.
"use strict";

const element = (id) => document.getElementById(id);
const methods = main.dataset.methods.split(" ");
const language = document.documentElement.lang;

// ---- What the buyer sees -----------------------------------------------------------------------------------------------------

const make = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

function set(id, ...children) {
  const [target, fresh] = [element(id), make("div", {}, ...children)];
  // What is the same stays: a live region tells what is new, and nothing twice.
  if (target.innerHTML !== fresh.innerHTML) target.replaceChildren(...fresh.childNodes);
}

const time = (text) =>
  make("time", { dateTime: text }, new Intl.DateTimeFormat(language, { dateStyle: "long", timeStyle: "long" }).format(new Date(text)));

function money(cents, currency) {
  const format = new Intl.NumberFormat(language, { style: "currency", currency });
  return format.format(cents / 10 ** format.resolvedOptions().maximumFractionDigits);
}

/** A text with what belongs into its braces. */
function filled(text) {
  const times = {
    opens: sale && sale.queue && sale.queue.opens_at,
    starts: sale && sale.starts_at,
    pay_before: order && order.pay_before,
  };
  return text.split(/(\{\w+\})/).map((part) => {
    const at = times[part.slice(1, -1)];
    return part.startsWith("{") && at ? time(at) : part;
  });
}

function waitFor(seconds) {
  if (seconds < 60) return words.labels.wait_soon;
  return words.labels.wait_minutes.replace("{n}", new Intl.NumberFormat(language).format(Math.ceil(seconds / 60)));
}

function facts(view) {
  const { labels } = words;
  const number = (value) => new Intl.NumberFormat(language).format(value);
  if (order) {
    const amount = order.currency ? [[labels.amount, money(order.amount_cents, order.currency)]] : [];
    return [[labels.order, order.order_id, "whole"], ...amount];
  }
  const shown = [
    [labels.price, money(sale.price_cents, sale.currency)],
    [labels.left, number(room ? room.remaining : sale.remaining)],
  ];
  if ((view === "waiting" || view === "behind") && place.ahead !== null) {
    const untilStart = Math.max(0, Date.parse(sale.starts_at) - serverNow()) / 1000;
    shown.push([labels.ahead, number(place.ahead)]);
    // Nobody waits longer than until the last unit is gone.
    const people = Math.min(place.ahead, room.remaining) + 1;
    shown.push([labels.wait, room.rate_per_s ? waitFor(untilStart + people / room.rate_per_s) : labels.wait_unknown]);
  }
  return shown;
}

let drawnActs = null;
/** The buttons of a state, made once: what has the focus keeps it. */
function showActs(view) {
  const drawn = view + (order ? order.order_id : "");
  if (drawn === drawnActs) return;
  drawnActs = drawn;
  const { labels } = words;
  const form = (label, act, className, ...fields) => {
    const made = make("form", {}, ...fields, make("button", { className }, label));
    made.addEventListener("submit", (event) => {
      event.preventDefault();
      run(() => act(made));
    });
    return made;
  };
  const forms = [];
  if (view === "register") forms.push(form(labels.register, register, "main"));
  if (view === "join") forms.push(form(labels.join, register, "main"));
  if (view === "turn" || view === "on_sale") forms.push(form(labels.buy, buy, "main"));
  if (view === "order_pre_pay") {
    const named = (method) => make("option", { value: method }, method === "card" ? labels.card : method);
    const choice = make("label", {}, labels.pay_by + " ", make("select", { name: "method" }, ...methods.map(named)));
    forms.push(form(labels.pay, pay, "main", choice), form(labels.cancel, cancel, ""));
  }
  if (/^order_(cancelled|expired|rejected|refunded)$/.test(view)) forms.push(form(labels.back, startOver, ""));
  const acts = element("acts");
  const hadFocus = acts.contains(document.activeElement);
  acts.replaceChildren(...forms);
  // What was pressed is gone: who cannot see the page goes on from what it says now.
  if (hadFocus) element("head").focus();
}

function startOver() {
  order = null;
  saved.set({ order: null, key: null });
}

function show() {
  if (!order && !sale) return;
  const view = viewOf();
  const said = words.views[view] || words.views.unknown;
  const title = (sale && (sale.title || sale.sku)) || document.querySelector("h1").textContent;
  set("head", said.head);
  set("text", ...filled(said.text));
  const fact = ([name, value, className]) =>
    make("div", className ? { className } : {}, make("dt", {}, name), make("dd", {}, value));
  set("facts", ...facts(view).map(fact));
  document.title = `${said.head} · ${title}`;
  main.dataset.view = view;
  showActs(view);
  tick();
}

function showUnknown() {
  const said = words.views.unknown;
  set("head", said.head);
  set("text", said.text);
  set("facts");
  main.dataset.view = "unknown";
  showActs("unknown");
  tick();
  return SELDOM_MS;
}

/** The countdown. It tells the time and hurries nobody: what it counts to is a beginning. */
function tick() {
  const view = main.dataset.view;
  const to = { closed: sale && sale.queue && sale.queue.opens_at, upcoming: sale && sale.starts_at, registered: sale && sale.starts_at }[view];
  if (!to) return set("countdown", "");
  const seconds = Math.max(0, Math.ceil((Date.parse(to) - serverNow()) / 1000));
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  const clock = [hours, minutes, seconds % 60].map((part) => String(part).padStart(2, "0")).join(":");
  const label = view === "closed" ? words.labels.opens_in : words.labels.starts_in;
  set("countdown", `${label} ${days ? days + " d " : ""}${clock}`);
}

/** Tells what is being done. */
function note(text) {
  set("note", text);
}

/** Tells a refusal in plain words; none clears the last one. */
function refuse(code) {
  set("refusal", code ? words.refusals[code] || words.refusals.other : "");
}

// ---- Running -------------------------------------------------------------------------------------------------------------------

let isBusy = false;
let looking = Promise.resolve();

/** Does what was pressed, one thing at a time and never beside a look, and looks at what came of it. */
async function run(act) {
  if (isBusy) return;
  isBusy = true;
  const buttons = [...element("acts").querySelectorAll("button")];
  buttons.forEach((button) => button.setAttribute("aria-disabled", "true"));
  refuse(null);
  note(words.labels.working);
  try {
    await looking.catch(() => {});
    await act();
    if (room) await stand();
  } catch (error) {
    console.error(error);
    refuse("other");
  } finally {
    note("");
    buttons.forEach((button) => button.removeAttribute("aria-disabled"));
    isBusy = false;
    show();
    wake();
  }
}

async function watch() {
  saved.load();
  // A form that was sent before this script ran, or by a browser without, came back with what it got.
  const { order: got, pending, pass } = main.dataset;
  if (got) saved.set({ order: got, unwrittenSince: pending ? Date.now() : null });
  if (pass) saved.set({ pass });
  if (saved.all.order) order = { order_id: saved.all.order, status: "pending" };
  for (;;) {
    await isSeen();
    let waitMs = SELDOM_MS;
    if (isBusy) {
      waitMs = 200;
    } else {
      try {
        looking = look();
        waitMs = await looking;
        show();
      } catch (error) {
        console.error(error); // a document that cannot be read: the next one may be
      }
    }
    await pause(waitMs);
  }
}

setInterval(() => document.hidden || tick(), 1000);
watch();
