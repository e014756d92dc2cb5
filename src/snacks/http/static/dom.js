// Small helpers to make elements. Text goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// h("p", { className: "soft", hidden: true }, "text", child): properties, or attributes if dashed or `role`.
export function h(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "for") node.setAttribute(key, value);
    else node[key] = value;
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// Changes a text only if it differs: an assignment alone costs a layout.
export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
