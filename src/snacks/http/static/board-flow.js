// The system itself above the lanes, as the flow from a command to this page; asked every 2 seconds.

import { byId, h, text } from "./dom.js";

const EVERY = 2000; // milliseconds between questions
const number = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const HEALTH = { ok: "well", trouble: "in trouble", unknown: "not known" };

// The boxes: which nodes of the topology each stands for, and which of their counts it shows.
const BOXES = [
  { id: "commands", moves: "topics", title: "Commands", nodes: ["commands"], note: "what the buttons send" },
  { id: "mysql", moves: "topics", title: "MySQL", nodes: ["mysql"], lines: (n) => sum("rows", n.mysql) },
  { id: "debezium", moves: "topics", title: "Debezium", nodes: ["debezium"], note: "reads the binlog" },
  { id: "topics", title: "Topics in", nodes: ["item_detail", "shipping_location", "payment"],
    lines: (n) => ({ items: n.item_detail?.counts.records, places: n.shipping_location?.counts.records,
      payments: n.payment?.counts.records }) },
  { id: "actors", title: "Order actors", nodes: ["actors"], lines: (n) => pick(n.actors, ["folded", "published", "to fold"]) },
  { id: "mongodb", moves: "aggregates", title: "MongoDB", nodes: ["mongodb"], lines: (n) => sum("orders", n.mongodb) },
  { id: "aggregates", title: "Topics out", nodes: ["aggregates", "dead-letters"],
    lines: (n) => ({ orders: n.aggregates?.counts.records, "dead letters": n["dead-letters"]?.counts.records }) },
  { id: "page", title: "This page", nodes: [] },
];
const NO_RATE = new Set(["to fold"]); // what stands there now, not what has passed

const pick = (node, names) => Object.fromEntries(names.map((name) => [name, node?.counts[name]]));
function sum(name, node) {
  const counts = Object.values(node?.counts ?? {});
  return { [name]: counts.length ? counts.reduce((a, b) => a + b, 0) : undefined };
}

export class Flow {
  #boxes = new Map();
  #last = null; // { time, values }: to tell rates
  #page; // what this page says of itself: { health, detail, lines }
  #heard; // (ok): a question was answered, or not

  constructor(page, heard) {
    [this.#page, this.#heard] = [page, heard];
    for (const box of BOXES) {
      const item = h("li", { className: "box" },
        h("span", { className: "box-title" }, h("span", { className: "dot", "aria-hidden": "true" }), box.title,
          h("span", { className: "hidden" })),
        h("span", { className: "box-note soft" }, box.note ?? ""),
        h("span", { className: "box-lines" }));
      byId("flow").append(item);
      this.#boxes.set(box.id, item);
    }
    this.#ask();
  }

  async #ask() {
    try {
      const answer = await fetch("/api/topology?format=json", { signal: AbortSignal.timeout(8000) });
      if (!answer.ok) throw new Error(`it answers ${answer.status}`);
      this.#show(await answer.json());
      this.#heard(true);
    } catch {
      byId("system").classList.add("away");
      text(byId("system-state"), "The server does not answer.");
      this.#box(BOXES.at(-1), this.#page(), {}, 0); // what this page itself knows is not old
      byId("system-dot").className = "dot trouble";
      this.#heard(false);
    }
    setTimeout(() => this.#ask(), EVERY);
  }

  #show(topology) {
    byId("system").classList.remove("away");
    const nodes = Object.fromEntries(topology.nodes.map((node) => [node.id, node]));
    const now = { time: Date.parse(topology.time), values: {} };
    const seconds = this.#last ? (now.time - this.#last.time) / 1000 : 0;
    const moved = {};
    for (const box of BOXES) {
      const own = box.id === "page" ? this.#page() : {
        health: worst(box.nodes.map((id) => nodes[id]?.health ?? "unknown")),
        detail: box.nodes.map((id) => nodes[id]).find((node) => node && node.health !== "ok")?.detail ?? "",
        lines: box.lines?.(nodes) ?? {},
      };
      moved[box.id] = this.#box(box, own, now.values, seconds);
    }
    // A change of a row adds no row: what goes through the first boxes is known by what comes out of them.
    for (const box of BOXES) this.#boxes.get(box.id).classList.toggle("moving", moved[box.moves ?? box.id]);
    this.#last = now;
    const wrong = topology.problems.length;
    byId("system-dot").className = wrong ? "dot trouble" : "dot ok";
    const lag = nodes.actors?.counts["to fold"];
    text(byId("system-state"), wrong ? topology.problems.join(" · ")
      : `All is well${lag === undefined ? "" : `, ${lag} to fold`}.`);
    this.#shards(topology.shards);
  }

  #box(box, { health, detail, lines }, values, seconds) {
    const item = this.#boxes.get(box.id);
    const [title, note, list] = item.children;
    title.querySelector(".dot").className = `dot ${health}`;
    text(title.lastElementChild, ` (${HEALTH[health]})`);
    item.classList.toggle("trouble", health === "trouble");
    text(note, health === "ok" ? box.note ?? "" : detail);
    note.title = note.textContent;
    let moved = false;
    const parts = Object.entries(lines).filter(([, value]) => value !== undefined).map(([name, value]) => {
      const key = `${box.id} ${name}`;
      if (typeof value === "number") values[key] = value;
      const gained = NO_RATE.has(name) || !(key in (this.#last?.values ?? {})) || typeof value !== "number"
        ? 0 : value - this.#last.values[key];
      moved ||= gained !== 0;
      const rate = gained > 0 && seconds > 0 ? ` +${number.format(gained / seconds)}/s` : "";
      return h("span", { className: "line" }, h("span", { className: "soft" }, name),
        h("span", { className: "value" }, typeof value === "number" ? number.format(value) : value,
          rate && h("span", { className: "rate" }, rate)));
    });
    list.replaceChildren(...parts);
    return moved;
  }

  // Who has which shard: those of this process in full, the others' by what is missing.
  #shards(shards) {
    const list = byId("shards");
    const parts = shards.map((shard) => {
      const well = shard.state === "running" && !shard.reason;
      return h("li", { className: well ? "shard ok" : "shard trouble", title: shard.reason },
        h("b", {}, String(shard.partition)), ` ${shard.orders} order${shard.orders === 1 ? "" : "s"}`,
        shard.lag ? `, ${shard.lag} to fold` : "", well ? "" : `, ${shard.state}`);
    });
    if (!parts.length) parts.push(h("li", { className: "soft" }, "none: another process folds them, or none is assigned yet"));
    list.replaceChildren(...parts);
  }
}

const worst = (states) => (states.includes("trouble") ? "trouble" : states.includes("unknown") ? "unknown" : "ok");
