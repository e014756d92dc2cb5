// The promotion: four screens, each with its own address; what was done is kept for this window.

import { PROMOTION, Refused, find, newId, order, pay, shipTo } from "./commands.js";
import { STATUSES } from "./board-orders.js";
import { byId, text } from "./dom.js";
import { follow } from "./stream.js";

const SCREENS = ["wish", "where", "penny", "sent"];
const BASE = "/promotion";
const ASK_AGAIN = 5000; // milliseconds until an order that nobody knows is asked for again
const KEPT = "snickers-wish"; // in sessionStorage: { orderId, name, done }, done: how many screens

let busy = false;
let following = null;

function wish() {
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  return kept ?? keep({ orderId: newId(), name: "", done: 0 });
}

function keep(one) {
  sessionStorage.setItem(KEPT, JSON.stringify(one));
  return one;
}

const address = (screen) => (screen === "wish" ? BASE : `${BASE}/${screen}`);
const asked = () => SCREENS.find((screen) => location.pathname.replace(/\/$/, "") === address(screen)) ?? "wish";

// The screen of the address; not beyond what was done, and after the payment only the last one.
function allowed() {
  const { done } = wish();
  if (done >= 3) return "sent";
  return SCREENS[Math.min(SCREENS.indexOf(asked()), done)];
}

function show({ focus } = {}) {
  const screen = allowed();
  if (screen !== asked()) history.replaceState(null, "", address(screen));
  const { orderId, name } = wish();
  for (const one of SCREENS) byId(`screen-${one}`).hidden = one !== screen;
  const at = SCREENS.indexOf(screen);
  [...byId("steps").children].forEach((step, index) => {
    step.classList.toggle("done", index < at);
    if (index === at) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  });
  text(byId("problem"), "");
  byId("name").value = name;
  text(byId("payer"), name);
  text(byId("order-id"), orderId);
  const title = byId(`screen-${screen}`).querySelector("h1");
  document.title = `${title.textContent} · Snacks Unlimited`;
  if (focus) title.focus();
  if (screen === "sent") watch();
  else unwatch();
}

// What each screen's button does. All of it can be sent twice: the order id is ours, the rest replaces itself.
const DO = {
  wish: async (mine) => { if (mine.done < 1) await order(mine.orderId, PROMOTION.items); },
  where: async (mine) => {
    const name = byId("name").value.trim();
    if (!name) throw new Error("Please tell us your name.");
    await shipTo(mine.orderId, PROMOTION.place(name));
    keep({ ...mine, name });
  },
  async penny(mine) {
    try {
      await pay(mine.orderId, PROMOTION.card);
    } catch (error) {
      // The answer to a former penny was lost, and the kitchen was quick.
      if (!(error instanceof Refused && error.message.startsWith("the order is shipped"))) throw error;
    }
  },
};

async function press(screen, button) {
  if (busy) return;
  if (screen === "sent") {
    unwatch();
    sessionStorage.removeItem(KEPT);
    history.pushState(null, "", BASE);
    show({ focus: true });
    return;
  }
  busy = true;
  button.setAttribute("aria-disabled", "true");
  text(byId("problem"), "");
  try {
    await DO[screen](wish());
    const mine = wish();
    const at = SCREENS.indexOf(screen);
    keep({ ...mine, done: Math.max(mine.done, at + 1) });
    // After the payment there is no way back: its entry becomes the last screen's.
    if (screen === "penny") history.replaceState(null, "", address("sent"));
    else history.pushState(null, "", address(SCREENS[at + 1]));
    show({ focus: true });
  } catch (error) {
    text(byId("problem"), error.message);
  }
  button.removeAttribute("aria-disabled");
  busy = false;
}

// ── the visitor's own order, moving ────────────────────────────────────────────────────────────

const NEWS = {
  PENDING: "Your wish was heard.",
  PAID: "It is paid. Sam the Wizard will pack it soon.",
  FULFILLED: "Sam has packed it. The Minions come for it.",
  SHIPPED: "The Minions are on their way to you. Enjoy your Snickers!",
};

function watch() {
  const { orderId } = wish();
  if (following?.orderId === orderId) return;
  unwatch();
  const seen = {};
  let told = false; // by the stream, since it began afresh
  let asking = false;
  progress(null, seen);
  text(byId("news"), "Waiting for news …");

  function show(status, changed) {
    seen[status] ??= changed;
    progress(status, seen);
    text(byId("news"), NEWS[status]);
  }
  const one = follow(`/ws/orders/${encodeURIComponent(orderId)}`, {
    afresh() { told = false; },
    async current() {
      if (asking) return;
      asking = true;
      // Too new for the stream, or long finished: it lets go of those. The query side knows the latter.
      while (!told && following?.orderId === orderId) {
        const order = await find(orderId);
        if (told || following?.orderId !== orderId) break;
        if (order) {
          show(order.orderStatus, Date.parse(`${order.modifiedDate}Z`));
          break;
        }
        await new Promise((resolve) => { setTimeout(resolve, ASK_AGAIN); });
      }
      asking = false;
    },
    order(message) {
      told = true;
      show(message.orderStatus, message.times?.changed ?? Date.now());
    },
    gone() {
      told = true;
      text(byId("news"), "The kitchen has taken this order off its list.");
    },
    state(name) {
      byId("lost").hidden = name === "live";
      text(byId("lost"), name === "live" ? "" : "We have lost sight of the kitchen for a moment. Trying again by itself; your wish is safe.");
    },
  });
  following = { orderId, stop: one.stop };
}

function unwatch() {
  following?.stop();
  following = null;
}

function progress(status, seen) {
  const at = STATUSES.indexOf(status);
  [...byId("journey").children].forEach((step, index) => {
    step.classList.toggle("done", index <= at);
    step.classList.toggle("now", index === at);
    if (index === at) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
    const time = seen[STATUSES[index]];
    text(step.querySelector(".when"), time ? `at ${new Date(time).toLocaleTimeString()}` : index > at ? "not yet" : "");
  });
}

for (const screen of SCREENS) {
  const form = byId(`screen-${screen}`).querySelector("form");
  form.onsubmit = (event) => {
    event.preventDefault();
    press(screen, form.querySelector("button"));
  };
}
addEventListener("popstate", () => show({ focus: true }));
addEventListener("pageshow", (event) => event.persisted && show());
show();
