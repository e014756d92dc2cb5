// The commands of the pages, and one query. They are sent as any client does; an error's message is for people.

const WAIT = 15000; // milliseconds

export class Refused extends Error {}

async function send(method, path, body) {
  let answer;
  try {
    answer = await fetch(`/api/${path}`, {
      method,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(WAIT),
    });
  } catch {
    throw new Error("The kitchen does not answer. Nothing is lost: please try again.");
  }
  if (answer.ok) return answer.json();
  const { message } = await answer.json().catch(() => ({ message: `it answers ${answer.status}` }));
  if (answer.status >= 500) throw new Error(`The kitchen cannot do it now (${message}). Please try again.`);
  throw new Refused(message);
}

// A new order of our own id. Sent again, it is not made again.
export async function order(orderId, items) {
  try {
    await send("POST", "item-details", { orderId, items });
  } catch (error) {
    if (!(error instanceof Refused && error.message.includes("already exists"))) throw error;
  }
}

// The order as queries see it; null if they do not know it, or do not answer.
export async function find(orderId) {
  try {
    const answer = await fetch(`/api/orders/${encodeURIComponent(orderId)}`, { signal: AbortSignal.timeout(WAIT) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

export const shipTo = (orderId, place) => send("POST", "shipping-location", { orderId, ...place });
export const pay = (orderId, card) => send("POST", "payment", { orderId, paymentType: "CREDIT_CARD", ...card });
export const fulfil = (orderId) => send("PUT", "item-details", { orderId, itemStatus: "FULFILLED" });
export const ship = (orderId) => send("PUT", "item-details", { orderId, itemStatus: "SHIPPED" });

const item = (itemId, itemName, quantity) => ({ itemId: String(itemId), itemName, price: 0.01, quantity });
const place = (customerName, customerAddress, zipCode, latitude, longitude) =>
  ({ customerName, customerAddress, zipCode, latitude, longitude });
const card = (creditCardType, digit, amount) => // the numbers are made up
  ({ creditCardType, creditCardNumber: Array(4).fill(digit.repeat(4)).join("-"), amount });

export const PROMOTION = {
  items: [item(1, "Snickers", 1)],
  place: (name) => place(name, "2115 Summit Ave.", "55105", 44.9374829167, -93.1893875758),
  card: card("Magical Visa", "7", 0.01),
};

export const visa = (amount) => card("Visa", "1", amount);

export const STORY = [
  {
    items: [item(1, "Swedish Fish", 2), item(2, "Pretzels", 2)],
    place: place("Brady S", "104 Rising Sun Rd", "08505", 40.7127281, -74.0060152),
    card: card("Visa", "1", 0.04),
  },
  {
    items: [item(1, "Cheez-It", 2), item(2, "Veggie Sticks", 4), item(3, "Gold Fish", 1)],
    place: place("Oakley S.", "104 Mimi & Pop Street", "14141", 20.7127281, -60.0060152),
    card: card("Visa", "2", 0.07),
  },
  {
    items: [item(1, "Fruit Snacks", 4), item(2, "Frosty Mini Donut", 1)],
    place: place("Rylan S", "1414 Cinderella Ln", "44055", 32.7127281, -56.0060152),
    card: card("Visa", "4", 0.05),
  },
  { items: PROMOTION.items, place: PROMOTION.place("A. Wisher"), card: PROMOTION.card },
];

// A random id as crypto.randomUUID() makes; that one is missing where the page is not https or loopback.
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
