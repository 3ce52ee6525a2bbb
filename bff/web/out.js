// What a restaurant serves, as a language model told it, and logging something of it.

import { call } from "./api.js";
import { button, el, problem, round } from "./dom.js";

const FLAGS = { macros_inconsistent: "kcal and macros disagree", alcohol: "alcohol" };

function dish(item, name) {
  const log = button("chip", "Log", async () => {
    const body = { food_name: `${item.name} (${name})`.slice(0, 200), calories: Math.round(item.kcal), protein_g: Math.round(item.protein_g),
      carbs_g: Math.round(item.carbs_g), fats_g: Math.round(item.fat_g), is_alcohol: item.flags.includes("alcohol") };
    await call("POST", "/food_logs", { body, key: crypto.randomUUID() });
    location.hash = "today";
  });
  return el("li", {}, el("div.grow", {}, el("b", {}, item.name), el("small.num", {},
    [item.serving, `${round(item.protein_g)} P`, `${round(item.carbs_g)} C`, `${round(item.fat_g)} F`].filter(Boolean).join(" · ")),
  item.flags.length > 0 && el("div.chips", {}, item.flags.map(f => el("span.tag", {}, FLAGS[f] ?? f)))),
  el("span.num", {}, `${round(item.kcal)} kcal`), log);
}

export function out(view) {
  const name = el("input", { type: "text", name: "name", placeholder: "Starbucks", "aria-label": "Restaurant", maxlength: 120, autocomplete: "off" });
  const found = el("div.fields");
  const form = el("form.search", {}, name, el("button.go", { type: "submit" }, "Look up"));
  let asked = 0;
  form.addEventListener("submit", async event => {
    event.preventDefault();
    const mine = ++asked;
    found.replaceChildren(el("section.card", {}, el("p.empty", { role: "status" }, "Looking it up. A name that nobody has asked for takes some seconds.")));
    try {
      for (;;) {
        const answer = await call("GET", `/bff/restaurant/menu?name=${encodeURIComponent(name.value)}`);
        if (mine !== asked) return;
        if (answer.status === 200) return found.replaceChildren(menu(answer.body));
        await new Promise(done => setTimeout(done, 1000 * (answer.retryAfter || 2)));
      }
    } catch (error) {
      if (mine === asked) found.replaceChildren(problem(error));
    }
  });
  view.replaceChildren(el("section.card", {}, form), found);
}

function menu(menu) {
  const when = new Date(menu.fetched_at).toLocaleDateString([], { dateStyle: "medium" });
  return el("section.card", {}, el("h2", {}, menu.name),
    el("p.note.warn", {}, `Told by a language model on ${when}, checked for plausibility, never measured.${menu.stale ? " Older than a week." : ""}`),
    el("ul.list.menu", {}, menu.items.map(i => dish(i, menu.name))));
}
