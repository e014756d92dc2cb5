// Orders made from the page: the story's four, or one of your own, by the commands that any client sends.

import { Refused, STORY, newId, order, pay, shipTo, visa } from "./commands.js";
import { byId, text } from "./dom.js";

const PLACES = [ // where an order from the form goes to: somewhere a speaker can point at
  [48.137, 11.575], [51.507, -0.128], [35.68, 139.69], [-33.87, 151.21], [-1.29, 36.82], [19.43, -99.13], [44.937, -93.189],
];

export function makeOrders() {
  const [play, said, form] = [byId("play"), byId("make-said"), byId("make")];
  let tried = null; // the form's order until all of it was answered: the same again is no second order

  function say(message, bad = false) {
    text(said, message);
    said.classList.toggle("error", bad);
  }

  // Runs one thing at a time; a second press does nothing.
  function once(button, work) {
    return async (event) => {
      event.preventDefault();
      if (button.getAttribute("aria-disabled") === "true") return;
      button.setAttribute("aria-disabled", "true");
      try {
        await work();
      } catch (error) {
        say(`Not done: ${error.message}`, true);
      }
      button.removeAttribute("aria-disabled");
    };
  }

  play.onclick = once(play, async () => {
    const ids = [];
    for (const chapter of STORY) {
      say(`${chapter.place.customerName} orders …`);
      const id = newId();
      await order(id, chapter.items);
      await shipTo(id, chapter.place);
      ids.push(id);
    }
    for (const [index, chapter] of STORY.entries()) {
      say(`${chapter.place.customerName} pays …`);
      await pay(ids[index], chapter.card);
    }
    say("Four orders are placed and paid. Now Sam fulfils, then the Minions ship.");
  });

  form.onsubmit = once(byId("make-send"), async () => {
    const data = new FormData(form);
    const [name, quantity] = [data.get("name").trim(), Number(data.get("quantity"))];
    if (!name) throw new Error("please say who orders");
    const key = JSON.stringify([...data]);
    if (tried?.key !== key) tried = { key, id: newId() };
    const { id } = tried;
    const [latitude, longitude] = PLACES[Math.floor(Math.random() * PLACES.length)];
    say(`${name} orders …`);
    await order(id, [{ itemId: "1", itemName: data.get("snack"), price: 0.01, quantity }]);
    try {
      await shipTo(id, { customerName: name, customerAddress: "1 Snack Street", zipCode: "08505", latitude, longitude });
      if (data.get("paid")) await pay(id, visa(quantity / 100));
    } catch (error) {
      if (error instanceof Refused) tried = null; // it was done and has gone on, shipped: the next one is another
      throw error;
    }
    tried = null;
    say(`${name}'s order is ${data.get("paid") ? "placed and paid" : "placed"}.`);
  });
}
