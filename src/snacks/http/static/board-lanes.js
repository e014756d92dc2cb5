// The lanes: a bounded number of cards in each, kept by key, moved with a short flight when they change.

import { Refused, fulfil, pay, ship, visa } from "./commands.js";
import { STATUSES, money } from "./board-orders.js";
import { byId, calm, h, svg, text } from "./dom.js";

const SHOWN = matchMedia("(max-width: 560px)").matches ? 6 : 12; // cards of a lane at first, and how many more a press of its last button gives
const MOST = 96;
const FLIGHT = 350; // milliseconds
const FLIGHTS = 24; // more at once would be a flicker, not a flight
const BUSY = 100; // milliseconds between drawings while many orders change
const DOUBLE = 300; // milliseconds in which a second press is the same double click
const PRESS = 1000; // milliseconds for which a press may hold the cards where they are

let pressed = 0; // since when a button or finger is down: a card that moves under it would lose the click
addEventListener("pointerdown", () => { pressed = performance.now(); }, true);
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { pressed = 0; }, true);

const ACTIONS = {
  PENDING: { label: (entry) => `Pay ${money(entry.total)}`, act: (entry) => pay(entry.id, visa(entry.total / 100)) },
  PAID: { label: () => "Sam: fulfil", act: (entry) => fulfil(entry.id) },
  FULFILLED: { label: () => "Minions: ship", act: (entry) => ship(entry.id) },
};
const SNACKS = new Map([
  ["Swedish Fish", "fish"], ["Gold Fish", "fish"], ["Pretzels", "pretzel"], ["Cheez-It", "cracker"],
  ["Veggie Sticks", "sticks"], ["Fruit Snacks", "fruit"], ["Frosty Mini Donut", "donut"], ["Snickers", "snickers"],
]);
const picture = (name) => `#${SNACKS.get(name) ?? "bag"}`;

// The pictures become a part of the page: from another file, each new card would ask for them, and show none until then.
async function bringPictures() {
  const answer = await fetch("/static/snacks.svg");
  const pictures = new DOMParser().parseFromString(await answer.text(), "image/svg+xml").documentElement;
  pictures.setAttribute("class", "hidden");
  pictures.setAttribute("aria-hidden", "true");
  document.body.append(document.importNode(pictures, true));
}
bringPictures().catch(() => {}); // an order without its picture can be told apart as well

export class Lanes {
  #orders;
  #open;
  #cards = new Map(); // order id → card, of those on the page
  #limits = Object.fromEntries(STATUSES.map((status) => [status, SHOWN]));
  #errors = new Map(); // order id → { status, text }: what its last command said, and to which status
  #flying = new Map(); // order id → the status that a command in flight is to change
  #changes = 0;
  #many = false; // in the last drawing
  #timer = 0;
  #drawn = 0;
  #acted = 0; // when a button was pressed last
  #parts = {};

  // `open(entry, card)` shows an order's details.
  constructor(orders, open) {
    this.#orders = orders;
    this.#open = open;
    for (const status of STATUSES) {
      const lane = byId(`lane-${status}`);
      this.#parts[status] = { list: lane.querySelector("ul"), count: lane.querySelector(".count"),
        more: lane.querySelector(".more"), none: lane.querySelector(".none") };
      this.#parts[status].more.onclick = () => {
        this.#limits[status] = Math.min(MOST, this.#limits[status] + SHOWN);
        this.draw();
      };
    }
  }

  // Something changed: draw in the next frame, or a little later while very much changes.
  changed() {
    this.#changes += 1;
    this.#plan();
  }

  #plan() {
    if (this.#timer) return;
    const wait = this.#many ? Math.max(0, this.#drawn + BUSY - performance.now()) : 0;
    this.#timer = setTimeout(() => requestAnimationFrame(() => {
      this.#timer = 0;
      if (pressed && performance.now() - pressed < PRESS) this.#plan();
      else this.draw();
    }), document.hidden ? BUSY : wait);
  }

  draw() {
    const lanes = this.#orders.lanes();
    const focused = document.activeElement?.closest?.(".card");
    const wasOn = focused?.dataset.status;
    const places = this.#places();
    const wanted = new Set();
    for (const status of STATUSES) {
      const entries = lanes[status];
      const { list, count, more, none } = this.#parts[status];
      text(count, String(entries.length));
      none.hidden = entries.length > 0;
      text(none, this.#orders.loading ? "Reading …" : "Nothing here now.");
      const rest = entries.length - this.#limits[status];
      more.hidden = rest <= 0;
      more.disabled = this.#limits[status] >= MOST;
      text(more, `and ${rest} more`);
      const shown = entries.slice(0, this.#limits[status]);
      let place = list.firstElementChild;
      for (const entry of shown) {
        wanted.add(entry.id);
        const card = this.#card(entry);
        if (card === place) place = place.nextElementSibling;
        else list.insertBefore(card, place);
      }
    }
    for (const [id, card] of this.#cards) {
      if (wanted.has(id)) continue;
      card.remove();
      this.#cards.delete(id);
      if (!this.#orders.get(id)) this.#errors.delete(id);
    }
    this.#fly(places);
    if (focused && document.activeElement !== focused && !focused.contains(document.activeElement)) {
      // It moved and so lost the focus. It gets it back on its name: a second Enter does no more harm.
      if (focused.isConnected) focused.querySelector(".open").focus({ preventScroll: wasOn === undefined });
      else byId(`lane-${wasOn}`).querySelector("h3").focus();
    }
    this.#many = this.#changes > FLIGHTS;
    this.#changes = 0;
    this.#drawn = performance.now();
  }

  #card(entry) {
    let card = this.#cards.get(entry.id);
    if (!card) {
      card = h("li", { className: "card" },
        svg("svg", { class: "picture", "aria-hidden": "true" }, svg("use")),
        h("button", { type: "button", className: "open", "aria-haspopup": "dialog" }),
        h("span", { className: "total" }),
        h("span", { className: "what" }),
        h("button", { type: "button", className: "act" }),
        h("p", { className: "error", hidden: true, role: "alert" }));
      card.dataset.id = entry.id;
      const [, open, , , act] = card.children;
      open.onclick = () => this.#open(this.#orders.get(entry.id) ?? card.entry, card);
      act.onclick = ({ detail, timeStamp }) => {
        // The second press of a double click would find the card in its next lane, or another in its place.
        if (detail > 1 && timeStamp - this.#acted < DOUBLE) return;
        this.#acted = timeStamp;
        this.#act(card.entry);
      };
      this.#cards.set(entry.id, card);
    }
    const flying = this.#flying.get(entry.id) === entry.status;
    const said = this.#errors.get(entry.id);
    const error = said?.status === entry.status ? said.text : "";
    if (card.entry === entry && card.flying === flying && card.error === error) return card;
    [card.entry, card.flying, card.error] = [entry, flying, error];
    const [snack, open, total, what, act, problem] = card.children;
    const name = entry.order.shippingLocation.customerName;
    text(open, name);
    text(total, money(entry.total));
    const items = entry.order.items.map((item) => `${item.quantity} ${item.itemName}`);
    text(what, items.slice(0, 3).join(", ") + (items.length > 3 ? ` and ${items.length - 3} more` : ""));
    snack.firstChild.setAttribute("href", picture(entry.order.items[0]?.itemName));
    card.dataset.status = entry.status;
    const action = ACTIONS[entry.status];
    act.hidden = !action;
    // Not `disabled`: that would throw the focus away. A press in flight does nothing.
    act.setAttribute("aria-disabled", String(flying));
    if (action) {
      text(act, flying ? "Sent …" : action.label(entry));
      act.setAttribute("aria-label", `${act.textContent}, order of ${name}`);
    }
    problem.hidden = !error;
    text(problem, error);
    return card;
  }

  // Does what the card shows; nothing if the order has gone on since.
  async #act(entry) {
    const { id, status } = entry;
    if (this.#orders.get(id)?.status !== status || this.#flying.get(id) === status) return;
    this.#flying.set(id, status);
    this.#errors.delete(id);
    this.draw();
    try {
      await ACTIONS[status].act(entry);
      await this.#seen(id, status);
    } catch (error) {
      this.#errors.set(id, { status, text: error instanceof Refused ? `Not done: ${error.message}.` : error.message });
    }
    if (this.#flying.get(id) === status) this.#flying.delete(id); // else it is the next command's
    this.changed();
  }

  // The button stays off until the change has come all the way round, or 10 s have passed.
  async #seen(id, status) {
    for (let tries = 0; tries < 100 && this.#orders.get(id)?.status === status; tries += 1) {
      await new Promise((resolve) => { setTimeout(resolve, 100); });
    }
  }

  #places() {
    const places = new Map();
    if (calm() || document.hidden || this.#changes > FLIGHTS) return places;
    for (const [id, card] of this.#cards) {
      const entry = this.#orders.get(id);
      if (entry && entry.status !== card.dataset.status) places.set(id, card.getBoundingClientRect());
    }
    return places;
  }

  // First, last, invert, play: each card that changed its lane flies from where it was.
  #fly(places) {
    const flights = [];
    for (const [id, from] of places) {
      const card = this.#cards.get(id);
      if (!card?.isConnected) continue;
      const to = card.getBoundingClientRect();
      if (from.x !== to.x || from.y !== to.y) flights.push([card, from.x - to.x, from.y - to.y]);
    }
    for (const [card, x, y] of flights) {
      card.classList.add("flying");
      const flight = card.animate(
        [{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }],
        { duration: FLIGHT, easing: "cubic-bezier(.2,.7,.2,1)" });
      flight.onfinish = flight.oncancel = () => card.classList.remove("flying");
    }
  }
}
