// Leftovers: eat from one, and the ring moves.

import { call, get } from "./api.js";
import { button, el, problem, round } from "./dom.js";

const SERVINGS = [0.5, 1, 1.5];

function eat(leftover, view) {
  return el("div.chips", {}, el("small", {}, "Eat"), SERVINGS.filter(n => n <= leftover.remaining_servings).map(n =>
    button("chip", n === 0.5 ? "½" : n === 1 ? "1" : "1½", async () => {
      await call("POST", "/pantry/leftovers/consume", { body: { leftover_id: leftover.id, consumed_servings: n }, key: crypto.randomUUID() });
      await kitchen(view);
    })));
}

function adding(view) {
  const field = (name, label, attributes) => [name, el("label.field", {}, el("span", {}, label), el("input", { type: "number", min: 0, required: true, inputmode: "decimal", ...attributes }))];
  const fields = new Map([
    ["recipe_name", el("label.field", {}, el("span", {}, "Dish"), el("input", { type: "text", required: true, maxlength: 150 }))],
    field("total_servings", "Servings", { min: 0.1, max: 99, step: 0.1 }), field("calories_per_serving", "kcal in one", { max: 10_000, step: 1 }),
    field("p", "Protein, g", { max: 1000, step: 0.1 }), field("c", "Carbs, g", { max: 1000, step: 0.1 }), field("f", "Fat, g", { max: 1000, step: 0.1 }),
  ]);
  const value = name => fields.get(name).querySelector("input").value;
  const form = el("form.fields", {}, ...fields.values(), el("button.go.wide", { type: "submit" }, "Keep it"));
  form.addEventListener("submit", async event => {
    event.preventDefault();
    form.querySelector(".note")?.remove();
    const body = { recipe_name: value("recipe_name"), total_servings: Number(value("total_servings")), calories_per_serving: Number(value("calories_per_serving")),
      macros_json: { p: Number(value("p")), c: Number(value("c")), f: Number(value("f")) } };
    try {
      await call("POST", "/pantry/leftovers", { body, key: crypto.randomUUID() });
      await kitchen(view);
    } catch (error) {
      form.append(problem(error));
    }
  });
  return el("details.card", {}, el("summary", {}, "Keep something for later"), form);
}

export async function kitchen(view) {
  try {
    const page = await get("/pantry/leftovers?limit=50");
    view.replaceChildren(
      el("section.card", {}, page.items.length === 0 ? el("p.empty", {}, "The fridge is empty.")
        : el("ul.list.leftovers", {}, page.items.map(l => el("li", {}, el("div.grow", {},
          el("b", {}, l.recipe_name),
          el("small.num", {}, `${l.remaining_servings} of ${l.total_servings} servings · ${round(l.calories_per_serving)} kcal each · ${round(l.macros_json.p)} g protein`),
          bar(l), eat(l, view)))))),
      adding(view));
  } catch (error) {
    view.replaceChildren(problem(error));
  }
}

function bar(leftover) {
  const left = el("i");
  left.style.width = `${100 * leftover.remaining_servings / leftover.total_servings}%`;
  return el("div.bar", {}, left);
}
