// What the page knows of the orders: told by the stream, read by lanes and dialog. No DOM here.

export const STATUSES = ["PENDING", "PAID", "FULFILLED", "SHIPPED"];

const usd = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
export const cents = (order) =>
  order.items.reduce((sum, item) => sum + Math.round(item.price.price * 100) * item.quantity, 0);
export const money = (amount) => usd.format(amount / 100);

// Of those that are finished, only the newest are kept: a page that is open for weeks must not grow.
const FINISHED = 10_000;
const LOOK_EVERY = 1000; // finished orders told; a hidden page draws nothing and so never asks for lanes

export class Orders {
  #known = new Map(); // by order id
  #round = 0; // counts how often the stream began afresh
  #finished = 0; // told since the page was opened
  received = 0;
  loading = true; // until the present state is complete
  onChange = () => {};
  onMove = () => {}; // (entry, from): an order is new or has another status

  get = (id) => this.#known.get(id);
  get size() { return this.#known.size; }

  // Those of each status, the latest arrival first. Forgets the finished ones that are too many.
  lanes() {
    const lanes = Object.fromEntries(STATUSES.map((status) => [status, []]));
    for (const entry of this.#known.values()) lanes[entry.status]?.push(entry);
    for (const lane of Object.values(lanes)) lane.sort((a, b) => b.since - a.since || (a.id < b.id ? 1 : -1));
    for (const { id } of lanes.SHIPPED.splice(FINISHED)) this.#known.delete(id);
    return lanes;
  }

  // Milliseconds from MySQL to this page: the middle one of the latest changes; null if none was seen.
  typicalDelay() {
    const sorted = [...this.#delays].sort((a, b) => a - b);
    return sorted.length ? sorted[Math.floor(sorted.length / 2)] : null;
  }
  #delays = [];

  afresh() {
    this.#round += 1;
    this.loading = true;
    this.onChange();
  }

  current() {
    for (const [id, entry] of this.#known) if (entry.round !== this.#round) this.#known.delete(id);
    this.loading = false;
    this.onChange();
  }

  gone(id) {
    this.#known.delete(id);
    this.received += 1;
    this.onChange(id);
  }

  take({ orderId, orderStatus, revision, order, times }) {
    const old = this.#known.get(orderId);
    // A repeat or an older state; but whoever begins afresh believes what it is told.
    if (old && old.round === this.#round && revision <= old.revision) return;
    const here = Date.now();
    const changed = times?.changed ?? Date.parse(`${order.modifiedDate}Z`);
    const moved = old?.status !== orderStatus;
    const seen = { status: orderStatus, revision, changed, times: times ?? {}, here, live: !this.loading };
    const history = moved || !old ? [...(old?.history ?? []), seen] : old.history;
    const entry = {
      id: orderId, order, revision, history, round: this.#round,
      status: orderStatus,
      since: moved ? changed : old.since,
      latest: seen,
      total: cents(order),
    };
    this.#known.set(orderId, entry);
    if (orderStatus === "SHIPPED" && (this.#finished += 1) % LOOK_EVERY === 0) this.lanes();
    this.received += 1;
    if (!this.loading && times?.changed) {
      this.#delays.push(Math.max(0, here - times.changed));
      if (this.#delays.length > 101) this.#delays.shift();
    }
    if (moved && !this.loading) this.onMove(entry, old?.status ?? null);
    this.onChange(orderId);
  }
}
