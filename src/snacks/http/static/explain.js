// Draws /api/explain/<order id>. Text goes in as text, never as markup.
import { byId, h } from "/static/dom.js";

const PREFIX = "/explain/";
const state = byId("state");
const found = byId("found");
const time = (ms) => (ms > 0 ? new Date(ms).toISOString().replace("T", " ").slice(0, 23) : "");

function say(kind, ...parts) {
  state.className = `note ${kind}`;
  state.replaceChildren(...parts);
}

const list = (lines) => h("ul", {}, ...lines.map((line) => h("li", {}, line)));
const json = (value) => h("pre", { tabIndex: 0 }, JSON.stringify(value, null, 2));

function section(title, ...content) {
  found.append(h("h2", {}, title), ...content.filter(Boolean));
}

function table(names, rows) {
  const head = h("tr", {}, ...names.map((name) => h("th", { className: "text" }, name)));
  const body = rows.map((row) => h("tr", {}, ...row.map((cell) => h("td", { className: "text" }, String(cell)))));
  return h("div", { className: "scroll" }, h("table", {}, head, ...body));
}

function show(order) {
  found.replaceChildren();
  const differ = order.agreements.filter((one) => !one.ok).map((one) => `${one.what}: ${one.detail}`);
  if (order.problems.length) say("trouble", "Not everything could be read:", list(order.problems));
  else if (differ.length) say("trouble", "It does not agree (or is just changing):", list(differ));
  else say("ok", `All of it agrees: ${order.agreements.map((one) => one.what).join("; ")}.`);
  section("MySQL", Object.keys(order.rows).length ? json(order.rows) : h("p", {}, "No rows."));
  const records = order.records.map((one) => [
    `${one.topic.split(".").pop()}/${one.partition}/${one.offset}`, time(one.timestamp), one.did, one.detail,
  ]);
  section(
    "Change records",
    table(["record", "written (UTC)", "did", "what"], records),
    order.leftOut ? h("p", { className: "soft" }, `${order.leftOut} older ones are not shown.`) : null,
  );
  section("The actor's state", order.state ? json(order.state) : h("p", {}, "Nothing is kept of it."));
  const last = order.published;
  section(
    "The last aggregate",
    last && table(["place", "written (UTC)", ...Object.keys(last.headers)],
      [[`${last.partition}/${last.offset}`, time(last.timestamp), ...Object.values(last.headers)]]),
    last ? (last.order ? json(last.order) : h("p", {}, "A tombstone.")) : h("p", {}, "Never published."),
  );
  section(
    order.stored ? `MongoDB, revision ${order.stored.revision}` : "MongoDB",
    order.stored ? json(order.stored.order) : h("p", {}, "No document."),
  );
  const letters = order.letters.map((one) => [one.id, one.status, one.letter.code, one.letter.reason]);
  section("Dead letters", letters.length ? table(["id", "status", "code", "reason"], letters) : h("p", {}, "None."));
}

async function explain(path) {
  found.replaceChildren();
  say("", "Asking MySQL, the topics and MongoDB …");
  try {
    const answer = await fetch(`/api/explain/${path}`, { signal: AbortSignal.timeout(120000) });
    const body = await answer.json();
    if (answer.ok) show(body);
    else say("trouble", body.message);
  } catch (error) {
    say("trouble", `The server is away (${error.message}).`);
  }
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  location.assign(PREFIX + encodeURIComponent(byId("order").value));
});

const path = location.pathname.startsWith(PREFIX) ? location.pathname.slice(PREFIX.length) : "";
if (path) {
  let id = path;
  try {
    id = decodeURIComponent(path);
    explain(path);
  } catch { // a % that begins no %xx: nobody's link, but somebody may type it
    say("trouble", `"${path}" is no order id.`);
  }
  byId("order").value = id;
}
