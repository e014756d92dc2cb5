// One order, opened: items, place, payment, what was seen of it, and the way of its last change.

import { position, sketch } from "./board-map.js";
import { money } from "./board-orders.js";
import { byId, h } from "./dom.js";

const HOPS = [["changed", "MySQL", "the rows were written"], ["captured", "Debezium", "the change was captured"],
  ["stored", "MongoDB", "the actor stored the order"], ["published", "Topic", "the order was published"],
  ["here", "Here", "this page was told"]];

const clock = (time) => {
  const date = new Date(time);
  const day = date.toDateString() === new Date().toDateString() ? "" : `${date.toLocaleDateString()} `;
  return `${day}${date.toLocaleTimeString()}`;
};
const exact = (time) => `${new Date(time).toLocaleTimeString("en-GB")}.${String(time % 1000).padStart(3, "0")}`;

export class OrderDialog {
  #orders;
  #dialog = byId("order");
  #id = null;
  #shown = null;
  #from = null; // the card that it was opened from

  constructor(orders) {
    this.#orders = orders;
    byId("order-close").onclick = () => this.#dialog.close();
    let pressed = null; // a text that is selected from inside to beside it is no press beside it
    this.#dialog.onpointerdown = (event) => { pressed = event.target; };
    this.#dialog.onclick = (event) => { // a press beside it; to return false would switch its links off
      if (event.target === this.#dialog && pressed === this.#dialog) this.#dialog.close();
    };
    this.#dialog.onclose = () => {
      if (this.#dialog.open) return; // told late: it was opened again meanwhile
      const back = this.#from?.isConnected ? this.#from.querySelector(".open") : byId("lanes-title");
      this.#id = this.#from = this.#shown = null;
      // The browser gave the focus back when it closed, and told of it later: who has moved on since stays there.
      if (document.activeElement === document.body) back.focus();
    };
  }

  open(entry, card) {
    [this.#id, this.#from] = [entry.id, card];
    this.#fill(entry);
    this.#dialog.showModal();
  }

  // Draws it anew if it is this order that changed.
  refresh() {
    if (!this.#id) return;
    const entry = this.#orders.get(this.#id);
    if (!entry) {
      byId("order-status").textContent = "This order was deleted, or shipped long ago.";
      delete byId("order-status").dataset.status;
    } else if (entry !== this.#shown) this.#fill(entry);
  }

  #fill(entry) {
    this.#shown = entry;
    const { order } = entry;
    byId("order-name").textContent = order.shippingLocation.customerName;
    const status = byId("order-status");
    status.textContent = entry.status;
    status.dataset.status = entry.status;
    byId("order-id").textContent = entry.id;
    byId("order-explain").href = `/explain/${encodeURIComponent(entry.id)}`;
    byId("order-items").replaceChildren(...order.items.map((item) => h("tr", {},
      h("td", { className: "text" }, item.itemName),
      h("td", {}, `${item.quantity} × ${money(Math.round(item.price.price * 100))}`),
      h("td", { className: "text soft" }, item.itemStatus.toLowerCase()))),
    h("tr", {}, h("th", { className: "text", scope: "row" }, "Total"), h("td", {}, money(entry.total)), h("td")));
    const { customerAddress, zipCode, geoLocation } = order.shippingLocation;
    byId("order-place").replaceChildren(sketch(geoLocation),
      h("p", {}, `${customerAddress}, ${zipCode}`), h("p", { className: "soft" }, position(geoLocation)));
    const { payment } = order;
    byId("order-payment").textContent = payment
      ? `${payment.creditCardType} ${payment.creditCardNumber}, ${money(Math.round(payment.amount.amount * 100))}`
      : "Not paid yet.";
    byId("order-history").replaceChildren(...entry.history.map((seen, index) => h("li", {},
      h("span", { className: "status" }, seen.status), ` ${clock(seen.changed)}`,
      index === 0 && !seen.live ? h("span", { className: "soft" }, " (so it was when this page was opened)") : null)));
    this.#hops(entry.latest);
  }

  // Bars on one scale from the first known time to the last; what nobody told is left out.
  #hops({ times, here, live }) {
    const told = HOPS.map(([key, name, what]) => [key === "here" ? (live ? here : null) : times[key], name, what])
      .filter(([time]) => typeof time === "number");
    const list = byId("order-hops");
    list.replaceChildren();
    byId("order-hops-note").hidden = told.length > 1;
    if (told.length < 2) return;
    const first = told[0][0];
    const full = Math.max(1, ...told.map(([time]) => time - first));
    for (const [time, name, what] of told) {
      const bar = h("span", { className: "bar", "aria-hidden": "true" });
      bar.style.setProperty("--at", `${Math.max(0, Math.min(1, (time - first) / full)) * 100}%`);
      const after = Math.max(0, time - first);
      list.append(h("li", {}, h("span", { className: "hop" }, name), bar,
        h("span", { className: "after" }, time === first ? exact(time) : `+${after} ms`),
        h("span", { className: "soft what" }, what)));
    }
  }
}
