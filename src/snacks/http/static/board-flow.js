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
  { id: "actors", moves: "aggregates", title: "Order actors", nodes: ["actors"], lines: ({ actors }, others) => ({
      [others ? "folded here" : "folded"]: actors?.counts.folded,
      [others ? "published here" : "published"]: actors?.counts.published, "to fold": actors?.counts["to fold"],
      "tasks running": actors?.counts["tasks running"] }) }, // where Flink folds
  { id: "mongodb", moves: "aggregates", title: "MongoDB", nodes: ["mongodb"], lines: (n) => sum("orders", n.mongodb) },
  { id: "aggregates", title: "Topics out", nodes: ["aggregates", "dead-letters"],
    lines: (n) => ({ states: n.aggregates?.counts.records, "dead letters": n["dead-letters"]?.counts.records }) },
  { id: "page", title: "This page", nodes: [] },
];
const NO_RATE = new Set(["to fold", "tasks running", "readers"]); // what stands there now, not what has passed

function sum(name, node) {
  const counts = Object.values(node?.counts ?? {});
  return { [name]: counts.length ? counts.reduce((a, b) => a + b, 0) : undefined };
}

export class Flow {
  #boxes = new Map();
  #last = null; // { time, values }: to tell rates
  #page; // (subscribers of the stream): what this page says of itself: { health, detail, lines }
  #heard; // (ok): a question was answered, or not

  constructor(page, heard) {
    [this.#page, this.#heard] = [page, heard];
    for (const box of BOXES) {
      const item = h("li", { className: "box" },
        h("span", { className: "box-title" }, h("span", { className: "dot", "aria-hidden": "true" }), h("span", {}, box.title),
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
    const others = processes(topology).some((one) => !one.here && one.shards.length);
    for (const box of BOXES) {
      const parts = box.nodes.map((id) => nodes[id]);
      const own = box.id === "page" ? this.#page(nodes.stream?.counts.subscribers) : {
        health: worst(parts.map((node) => node?.health ?? "unknown")),
        detail: (parts.find((node) => node && node.health !== "ok") ?? parts[0])?.detail ?? "",
        lines: box.lines?.(nodes, others) ?? {},
      };
      moved[box.id] = this.#box(box, own, now.values, seconds);
    }
    // A change of a row adds no row: what goes through the first boxes is known by what comes out of them.
    for (const box of BOXES) this.#boxes.get(box.id).classList.toggle("moving", moved[box.moves ?? box.id]);
    this.#last = now;
    const wrong = topology.problems.length;
    byId("system-dot").className = wrong ? "dot trouble" : "dot ok";
    if (nodes.actors) text(this.#boxes.get("actors").querySelector(".dot + span"), nodes.actors.title); // or another engine
    const lag = nodes.actors?.counts["to fold"];
    text(byId("system-state"), wrong ? topology.problems.join(" · ")
      : `All is well${lag === undefined ? "" : `, ${lag} to fold`}.`);
    this.#owners(topology);
  }

  #box(box, { health, detail, lines }, values, seconds) {
    const item = this.#boxes.get(box.id);
    const [title, note, list] = item.children;
    title.querySelector(".dot").className = `dot ${health}`;
    text(title.lastElementChild, ` (${HEALTH[health]})`);
    item.classList.toggle("trouble", health === "trouble");
    text(note, health === "ok" ? box.note ?? detail : detail);
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

  // Who has which shard: one line for each process; of this one all is known, of others what waits.
  #owners(topology) {
    if (topology.nodes.some((node) => node.id === "actors" && node.title === "Flink SQL")) {
      byId("owners").replaceChildren(); // another engine folds: it has no shards, and its group nobody
      return;
    }
    const rows = processes(topology).map(({ name, title, shards }) => h("li", {},
      h("span", { className: "process", title }, `Shards of ${name}: `),
      shards.length ? h("ul", { "aria-label": `Shards of ${name}` }, ...shards.map(chip)) : h("span", { className: "soft" }, "none")));
    if (topology.role === "http") rows.push(h("li", { className: "soft" }, "This process folds nothing."));
    if (!topology.group) rows.push(h("li", { className: "soft" }, "The broker does not tell of others."));
    else if (topology.group.state.endsWith("Rebalance")) rows.push(h("li", { className: "soft" }, "Shards are being handed over …"));
    else if (!topology.group.members.length) rows.push(h("li", {}, "No process folds."));
    byId("owners").replaceChildren(...rows);
  }
}

const worst = (states) => (states.includes("trouble") ? "trouble" : states.includes("unknown") ? "unknown" : "ok");

// The processes that fold, this one first, each with its shards.
function processes({ shards, group, member }) {
  const others = (group?.members ?? []).filter((one) => one.clientId !== member).map((one) => ({
    here: false, name: one.clientId, title: one.host,
    shards: Object.entries(one.shards).map(([partition, lag]) => ({ partition, lag })),
  }));
  return member ? [{ here: true, name: "this process", title: member, shards }, ...others] : others;
}

function chip({ partition, orders, lag, state, reason }) {
  const well = !reason && (state ?? "running") === "running";
  const said = [orders === undefined ? "" : `${orders} order${orders === 1 ? "" : "s"}`, lag ? `${lag} to fold` : "", well ? "" : state];
  const more = said.filter(Boolean).join(", ");
  return h("li", { className: well ? "shard ok" : "shard trouble", title: reason ?? "" },
    h("b", {}, String(partition)), more && `: ${more}`);
}
