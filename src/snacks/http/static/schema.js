"use strict";
// Shows the OpenAPI document: every operation, its parameters, and an example of each body.

const main = document.getElementById("operations");
let components = {};

function add(parent, name, text, className) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  parent.append(node);
  return node;
}

const resolved = (schema) => {
  if (schema?.$ref) return resolved(components[schema.$ref.split("/").pop()]);
  return schema?.allOf?.length === 1 ? { ...resolved(schema.allOf[0]), ...schema } : schema;
};

// What a value of this schema looks like: its example if it has one, else made from its parts.
function sample(schema, depth = 0) {
  const s = resolved(schema);
  if (!s || depth > 8) return null;
  if (s.example !== undefined) return s.example;
  if (s.examples?.length) return s.examples[0]?.value ?? s.examples[0];
  if (s.const !== undefined) return s.const;
  if (s.enum) return s.enum[0];
  if (s.default !== undefined) return s.default;
  const choice = (s.oneOf ?? s.anyOf)?.find((one) => resolved(one)?.type !== "null");
  if (choice) return sample(choice, depth + 1);
  const type = Array.isArray(s.type) ? s.type.find((one) => one !== "null") : s.type;
  if (type === "array") return [sample(s.items, depth + 1)];
  if (type === "object" || s.properties) {
    return Object.fromEntries(
      Object.entries(s.properties ?? {}).map(([name, one]) => [name, sample(one, depth + 1)]));
  }
  return { integer: 1, number: 1.25, boolean: true, string: "text" }[type] ?? null;
}

function body(parent, content) {
  for (const [type, media] of Object.entries(content ?? {})) {
    const examples = Object.values(media.examples ?? {});
    const values = examples.length ? examples : [{ summary: "", value: media.example ?? sample(media.schema) }];
    for (const example of values) {
      add(parent, "div", [type, example.summary].filter(Boolean).join(" · "), "soft");
      add(parent, "pre", JSON.stringify(example.value, null, 2));
    }
  }
}

function operation(parent, path, method, spec) {
  const box = add(parent, "details");
  box.id = spec.operationId;
  const summary = add(box, "summary");
  add(summary, "span", method.toUpperCase(), "method");
  add(summary, "code", path);
  add(summary, "span", spec.summary, "soft");
  const inside = add(box, "div");
  if (spec.description) add(inside, "p", spec.description);
  for (const parameter of spec.parameters ?? []) {
    const line = add(inside, "p");
    add(line, "code", parameter.name);
    const schema = resolved(parameter.schema);
    const values = (schema?.enum ?? schema?.oneOf?.flatMap((one) => resolved(one).enum ?? []) ?? []).filter(Boolean);
    const words = [`in the ${parameter.in}`, parameter.description, values.join(", ")];
    line.append(` ${words.filter(Boolean).join(" · ")}`);
  }
  if (spec.requestBody) {
    add(inside, "h3", "Send");
    body(inside, spec.requestBody.content);
  }
  for (const [status, answer] of Object.entries(spec.responses ?? {})) {
    add(inside, "h3", `${status} ${answer.description ?? ""}`);
    body(inside, answer.content);
  }
}

function show(document_) {
  components = document_.components?.schemas ?? {};
  main.replaceChildren();
  for (const text of document_.info.description.split("\n\n")) add(main, "p", text);
  const operations = Object.entries(document_.paths).flatMap(([path, item]) =>
    Object.entries(item).filter(([, spec]) => spec.responses).map(([method, spec]) => [path, method, spec]));
  const named = document_.tags.map((tag) => tag.name);
  const tags = [...document_.tags, { name: undefined, description: "Everything else" }];
  for (const tag of tags) {
    const own = operations.filter(([, , spec]) =>
      tag.name ? spec.tags?.includes(tag.name) : !spec.tags?.some((one) => named.includes(one)));
    if (!own.length) continue;
    add(main, "h2", tag.name ?? "More");
    add(main, "p", tag.description, "soft");
    for (const [path, method, spec] of own) operation(main, path, method, spec);
  }
  const asked = document.getElementById(location.hash.slice(1));
  if (asked) asked.open = true;
}

fetch("/schema/openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`it answers ${answer.status}`))))
  .then(show)
  .catch((error) => { main.textContent = `The server is away (${error.message}). Load the page again.`; });
