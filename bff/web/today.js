// The rings, today's meals, and what waits.

import { call, get } from "./api.js";
import { button, el, problem, round, svg } from "./dom.js";

function ring(radius, name, percent) {
  const around = 2 * Math.PI * radius;
  const part = around * Math.min(Math.max(percent, 0), 100) / 100;
  const common = { cx: 150, cy: 150, r: radius };
  const bar = svg("circle", { ...common, class: `bar ${name}`, "stroke-dasharray": `${part} ${around}`, transform: "rotate(-90 150 150)" });
  if (part < 1) bar.setAttribute("stroke-linecap", "butt");
  return [svg("circle", { ...common, class: "track" }), bar];
}

function text(y, size, name, content) {
  return svg("text", { x: 150, y, "font-size": size, class: name }, document.createTextNode(content));
}

function rings(day) {
  const { outer_percent: outer, inner_percent: inner } = day.rings;
  const goal = day.targets.calories;
  const label = `${Math.round(outer)} % of the eating day has passed; ${day.totals.calories} kcal eaten`
    + (goal ? ` of ${goal}` : "");
  return el("section.card.rings", {},
    svg("svg", { viewBox: "0 0 300 300", role: "img", "aria-label": label },
      ...ring(132, "time", outer), ...ring(108, "food", inner ?? 0),
      text(148, 54, "", round(day.totals.calories)), text(176, 17, "small", goal ? `of ${round(goal)} kcal` : "kcal"),
      text(204, 15, "small", goal ? `${round(Math.max(goal - day.totals.calories, 0))} left` : "")),
    el("p.key", {}, el("span", {}, `Day ${Math.round(outer)} %`), el("span", {}, inner === null ? "Energy" : `Energy ${Math.round(inner)} %`)),
    el("p.msg", {}, day.status_msg));
}

function card(day, again) {
  const suggestion = day.ai_card;
  if (!suggestion?.food) return null;
  const decide = (path, body) => button(path === "accept" ? "go" : "plain", path === "accept" ? "Sounds good" : "Something else", async () => {
    await call("POST", `/plan/${path}`, { body });
    await again();
  });
  return el("section.card", {}, el("h2", {}, "Dinner for a tired day"), el("b", {}, suggestion.food), el("p.soft", {}, suggestion.reason),
    suggestion.status === "accepted" ? el("small", {}, "You said yes to this.")
      : el("div.row", {}, decide("accept", { food: suggestion.food }), decide("reject", { food: suggestion.food })));
}

const time = at => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

export async function today(view) {
  const again = () => today(view);
  try {
    const day = await get("/dashboard/state");
    const [diary, logs, waiting] = await Promise.all([
      get(`/diary/${day.date}`), get("/food_logs?limit=50"), get("/scans?status=ready&limit=20").catch(() => ({ items: [] })),
    ]);
    const ofToday = logs.items.filter(l => l.status === "confirmed" && l.log_time >= diary.from && l.log_time < diary.to);
    const protein = day.targets.protein_g;
    view.replaceChildren(...[
      waiting.items.length > 0 && el("section.card", {}, el("h2", {}, "Waits for you"), el("ul.list", {}, waiting.items.map(s =>
        el("li", {}, el("div.grow", {}, el("b", {}, "A scanned meal"), el("small", {}, time(s.created_at))),
          el("a.go", { href: `#scan/${s.id}`, role: "button" }, "Look"))))),
      rings(day),
      el("section.facts", {},
        el("div.card.fact", {}, el("b", {}, `${round(day.totals.protein_g)} g`), el("span", {}, protein ? `protein of ${round(protein)}` : "protein")),
        el("div.card.fact", {}, el("b", {}, day.energy_score === null ? "–" : String(Math.round(day.energy_score))), el("span", {}, "energy score")),
        el("div.card.fact", {}, el("b", {}, diary.steps === null ? "–" : round(diary.steps)), el("span", {}, "steps"))),
      card(day, again),
      el("section.card", {}, el("h2", {}, "Eaten today"), ofToday.length === 0 ? el("p.empty", {}, "Nothing yet.")
        : el("ul.list.meals", {}, ofToday.map(l => el("li", {},
          el("div.grow", {}, el("b", {}, l.food_name), el("small", {}, `${time(l.log_time)} · ${l.protein_g ?? "–"} g protein`)),
          el("span.num", {}, l.calories === null ? "–" : `${round(l.calories)} kcal`))))),
    ].filter(Boolean));
  } catch (error) {
    view.replaceChildren(problem(error));
  }
}
