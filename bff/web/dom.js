// Elements without markup in strings: text can only be text.

/** el("li.done", {title: "x", onclick: f}, child, "text", null) */
export function el(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "checked" || key === "disabled") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter(c => c !== null && c !== undefined && c !== false));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export const round = n => Math.round(n).toLocaleString("en");

/** "likely 120 to 180" of an estimate with p10, p50, p90. */
export const likely = e => `likely ${round(e.p10)} to ${round(e.p90)}`;

export function problem(error) {
  return el("p.note.bad", { role: "alert" }, error.message ?? String(error));
}

/** Runs what a button does once at a time, and says below it what went wrong. */
export function button(name, label, act) {
  const node = el(`button.${name}`, { type: "button" }, label);
  node.addEventListener("click", async () => {
    node.disabled = true;
    node.parentElement.querySelector(":scope > .note.bad")?.remove();
    try {
      await act();
    } catch (error) {
      node.after(problem(error));
    }
    node.disabled = false;
  });
  return node;
}
