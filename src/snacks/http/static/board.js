// The board: the stream brings orders, the lanes show them, the buttons send commands.

import { Flow } from "./board-flow.js";
import { Lanes } from "./board-lanes.js";
import { makeOrders } from "./board-make.js";
import { OrderDialog } from "./board-order.js";
import { Orders, STATUSES } from "./board-orders.js";
import { byId, text } from "./dom.js";
import { follow } from "./stream.js";

const SAY_EVERY = 4000; // milliseconds between what is said aloud
const clock = () => new Date().toLocaleTimeString();

const orders = new Orders();
const dialog = new OrderDialog(orders);
const lanes = new Lanes(orders, (entry, card) => dialog.open(entry, card));
let stream = { state: "down", since: clock(), began: false };

orders.onChange = () => {
  lanes.changed();
  dialog.refresh();
};

// ── what is said aloud: a summary now and then, not every move ─────────────────────────────────

let moves = {};
let saying = 0;
orders.onMove = ({ status }) => {
  moves[status] = (moves[status] ?? 0) + 1;
  saying ||= setTimeout(() => {
    const said = STATUSES.filter((one) => moves[one]).map((one) => `${moves[one]} now ${one.toLowerCase()}`);
    text(byId("said"), `Orders: ${said.join(", ")}.`);
    [moves, saying] = [{}, 0];
  }, SAY_EVERY);
};

// ── the stream, and what the page says when it is away ─────────────────────────────────────────

function banner(state, detail) {
  const bar = byId("banner");
  if (state === "live") {
    bar.hidden = true;
  } else {
    const what = orders.size ? "What you see may be old." : "Nothing to show yet.";
    text(bar, state === "stale"
      ? `The server has lost touch with the orders (${detail}). ${what} It is trying again.`
      : `The connection is lost since ${stream.since}. ${what} Trying again by itself.`);
    bar.hidden = false;
  }
  document.body.classList.toggle("old", state !== "live");
  document.body.dataset.stream = state;
}

const following = follow("/ws/orders", {
  afresh: () => orders.afresh(),
  order: (message) => orders.take(message),
  gone: (orderId) => orders.gone(orderId),
  current: () => orders.current(),
  state(name, detail) {
    if (name !== stream.state) stream = { state: name, since: clock() };
    banner(name, detail);
  },
});

let away = false;
new Flow((subscribers) => {
  const delay = orders.typicalDelay();
  return {
    health: stream.state === "live" ? "ok" : "trouble",
    detail: stream.state === "live" ? "" : "no stream",
    lines: { orders: orders.size, updates: orders.received, readers: subscribers, delay: delay === null ? undefined : `${delay} ms` },
  };
}, (ok) => {
  if (ok && away) {
    // The server was away and is back: whatever the connection believes, make a new one.
    if (stream.state === "live") following.again();
    else following.hurry();
  }
  away = !ok;
});

makeOrders();

// The flow takes most of a phone's first screen: there it is closed until asked for.
const system = byId("system");
if (matchMedia("(max-width: 700px)").matches) system.open = false;
