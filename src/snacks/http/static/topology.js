"use strict";
// Draws the topology from its JSON and keeps it fresh. All text goes in as text, never as markup.

const EVERY = 2000; // milliseconds between questions
const CARD = { width: 166, title: 42, line: 18, pad: 12 };
const number = new Intl.NumberFormat("en");
const drawing = document.getElementById("drawing");
const state = document.getElementById("state");
let shown = null; // the last topology that was drawn
let totals = {}; // sum of counts by node, to see what moves
let awaySince = null;

function svg(name, attributes, parent, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent?.append(node);
  return node;
}

function html(name, className, parent, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  parent?.append(node);
  return node;
}

const short = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

// A note under the title, if there is no count to show or something is wrong.
const note = (node) => (node.health !== "ok" || !Object.keys(node.counts).length ? node.detail : "");

const height = (node) =>
  CARD.title + CARD.pad + CARD.line * (Object.keys(node.counts).length + (note(node) ? 1 : 0));

// Stages side by side on a desk, one below the other on a phone. Gives each node x, y, w and h.
function layout(nodes, width) {
  const stages = [...new Set(nodes.map((node) => node.stage))].sort((a, b) => a - b)
    .map((stage) => nodes.filter((node) => node.stage === stage));
  const places = {};
  if (width >= 900) {
    const gap = Math.max(24, (width - CARD.width * stages.length) / (stages.length - 1));
    const card = Math.min(CARD.width, (width - gap * (stages.length - 1)) / stages.length);
    const tall = (stage) => stage.reduce((sum, node) => sum + height(node) + 24, -24);
    const full = Math.max(...stages.map(tall));
    stages.forEach((stage, column) => {
      let y = (full - tall(stage)) / 2 + 4;
      for (const node of stage) {
        places[node.id] = { x: column * (card + gap), y, w: card, h: height(node), across: true };
        y += height(node) + 24;
      }
    });
    return { places, height: full + 8 };
  }
  let y = 4;
  let branched = false;
  for (const stage of stages) {
    const branch = stage.length > 3;
    y = (branch ? branches : beside)(branched ? [...stage].reverse() : stage, width, y, places) + 34;
    branched = branch;
  }
  return { places, height: y - 26 };
}

function beside(stage, width, y, places) {
  const w = stage.length === 1 ? Math.min(width, 250) : (width - 8 * (stage.length - 1)) / stage.length;
  const left = (width - w * stage.length - 8 * (stage.length - 1)) / 2;
  const h = Math.max(...stage.map(height));
  stage.forEach((node, column) => {
    places[node.id] = { x: left + column * (w + 8), y, w, h };
  });
  return y + h;
}

// The first on the right, the others on the left; the second goes on too, so it is the lowest of these.
function branches([first, ...others], width, y, places) {
  const w = (width - 30) / 2;
  let bottom = y;
  for (const node of others.reverse()) {
    places[node.id] = { x: 20, y: bottom, w, h: height(node), side: true };
    bottom += height(node) + 10;
  }
  const h = Math.max(height(first), bottom - 10 - y);
  places[first.id] = { x: width - w, y, w, h };
  return y + h;
}

function edge(from, to, moving, parent) {
  const [x1, y1] = from.across ? [from.x + from.w, from.y + from.h / 2] : [from.x + from.w / 2, from.y + from.h];
  let line, head;
  if (to.across || to.side) {
    const [x2, y2] = [to.x - 7, to.y + to.h / 2];
    const mx = (x1 + x2) / 2;
    const gutter = to.x - 14;
    line = to.across
      ? `C${mx},${y1} ${mx},${y2} ${x2},${y2}`
      : `C${x1},${y1 + 24} ${gutter},${y1} ${gutter},${y1 + 34} V${y2 - 8} Q${gutter},${y2} ${x2},${y2}`;
    head = `M${x2 + 6},${y2} l-6,-5 v10 z`;
  } else {
    const [x2, y2] = [to.x + to.w / 2, to.y - 7];
    const my = (y1 + y2) / 2;
    line = `C${x1},${my} ${x2},${my} ${x2},${y2}`;
    head = `M${x2},${y2 + 6} l-5,-6 h10 z`;
  }
  svg("path", { class: moving ? "edge moving" : "edge", d: `M${x1},${y1} ${line}` }, parent);
  svg("path", { class: "head", d: head }, parent);
}

function card(node, place, parent) {
  const group = svg("g", { transform: `translate(${place.x},${place.y})` }, parent);
  svg("title", {}, group, [node.title, node.kind, node.detail].filter(Boolean).join(" · "));
  const trouble = node.health === "trouble" ? "card trouble" : "card";
  svg("rect", { class: trouble, width: place.w, height: place.h, rx: 9 }, group);
  svg("circle", { class: `state ${node.health}`, cx: place.w - 13, cy: 32, r: 4.5 }, group);
  const letters = Math.floor((place.w - 16) / 6.6);
  const long = node.title.length * 8.5 > place.w - 16;
  fit(svg("text", { class: long ? "title long" : "title", x: 9, y: 20 }, group, node.title), place.w - 16);
  fit(svg("text", { class: "soft", x: 9, y: 36 }, group, node.kind), place.w - 32);
  let y = CARD.title + 12;
  if (note(node)) {
    svg("text", { class: "soft", x: 9, y }, group, short(note(node), letters));
    y += CARD.line;
  }
  for (const [name, count] of Object.entries(node.counts)) {
    svg("text", { class: "soft", x: 9, y }, group, name);
    svg("text", { class: "number", x: place.w - 9, y }, group, number.format(count));
    y += CARD.line;
  }
}

// Squeezes a text that is wider than its place; it must be on the page to be measured.
function fit(text, width) {
  if (text.getComputedTextLength() <= width) return;
  text.setAttribute("textLength", width);
  text.setAttribute("lengthAdjust", "spacingAndGlyphs");
}

function draw(topology, moved) {
  const width = Math.max(320, drawing.clientWidth);
  const { places, height: full } = layout(topology.nodes, width);
  const picture = svg("svg", { class: "flow", viewBox: `0 0 ${width} ${full}`, role: "img" });
  svg("title", {}, picture, "Commands to MySQL, Debezium, topics, order actors, MongoDB and topics, queries and stream");
  drawing.replaceChildren(picture);
  const counted = new Set(topology.nodes.filter((node) => Object.keys(node.counts).length).map((node) => node.id));
  for (const { source, target } of topology.edges) {
    // Something flowed here if all that is counted at its two ends has changed.
    const ends = [source, target].filter((id) => counted.has(id));
    edge(places[source], places[target], ends.length && ends.every((id) => moved.has(id)), picture);
  }
  for (const node of topology.nodes) card(node, places[node.id], picture);
}

function tabulateGroup({ group, member }) {
  const table = document.getElementById("group");
  table.replaceChildren();
  if (!group?.members.length) {
    html("td", "text soft", html("tr", "", table), group ? "No process folds." : "The broker does not tell.");
    return;
  }
  const head = html("tr", "", table);
  for (const name of ["process", "host", "shards"]) html("th", "text", head, name);
  html("th", "", head, "to fold");
  for (const { clientId, host, shards } of group.members) {
    const row = html("tr", "", table);
    html("td", "text", row, clientId === member ? `${clientId} (this process)` : clientId);
    html("td", "text", row, host);
    html("td", "text", row, Object.keys(shards).join(", ") || "none");
    html("td", "", row, number.format(Object.values(shards).reduce((a, b) => a + b, 0)));
  }
}

function tabulate({ shards, role }) {
  const table = document.getElementById("shards");
  table.replaceChildren();
  if (!shards.length) {
    const why = role === "http" ? "None: this process answers HTTP and folds nothing."
      : "None: other processes have them, or none is assigned yet.";
    html("td", "text soft", html("tr", "", table), why);
    return;
  }
  const head = html("tr", "", table);
  for (const name of ["shard", "state"]) html("th", "text", head, name);
  const columns = ["orders", "lag", "folded", "repeated", "published", "deadLetters", "cycles"];
  for (const name of columns) html("th", "", head, name === "deadLetters" ? "dead letters" : name);
  html("th", "text", head, "why it waits");
  for (const shard of shards) {
    const row = html("tr", "", table);
    html("td", "text", row, shard.partition);
    const cell = html("td", "text", row);
    html("span", shard.reason ? "dot trouble" : shard.state === "running" ? "dot ok" : "dot", cell);
    const read = shard.state === "restoring" ? ` ${shard.restored} of ${shard.restoreTotal}` : "";
    cell.append(shard.state + read);
    for (const name of columns) html("td", "", row, number.format(shard[name]));
    html("td", "text", row, shard.reason);
  }
}

function say(className, text, problems = []) {
  state.className = `note ${className}`;
  state.replaceChildren(text);
  const list = problems.length ? html("ul", "", state) : null;
  for (const problem of problems) html("li", "", list, problem);
}

function show(topology) {
  const now = {};
  for (const node of topology.nodes) now[node.id] = Object.values(node.counts).reduce((a, b) => a + b, 0);
  const moved = new Set(shown ? Object.keys(now).filter((id) => id in totals && now[id] !== totals[id]) : []);
  [shown, totals] = [topology, now];
  const time = new Date(topology.time).toLocaleTimeString();
  if (topology.problems.length) say("trouble", `Something is wrong (${time}):`, topology.problems);
  else say("ok", `All is well (${time}).`);
  draw(topology, moved);
  // Another engine than the actors has no shards, and nobody is in their group.
  document.getElementById("owners").hidden =
    topology.nodes.some((node) => node.id === "actors" && node.title === "Flink SQL");
  tabulateGroup(topology);
  tabulate(topology);
}

async function ask() {
  try {
    const answer = await fetch("/api/topology?format=json", { signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    const topology = await answer.json();
    awaySince = null;
    document.body.classList.remove("away");
    show(topology);
  } catch (error) {
    awaySince ??= new Date();
    document.body.classList.add("away");
    const old = shown ? "What you see is old. " : "";
    say("trouble", `The server has been away since ${awaySince.toLocaleTimeString()}. ${old}Trying again every 2 seconds. (${error.message})`);
  }
  setTimeout(ask, EVERY);
}

addEventListener("resize", () => shown && draw(shown, new Set()));
ask();
