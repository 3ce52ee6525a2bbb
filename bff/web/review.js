// What was measured, for a person to put right.

import { call } from "./api.js";
import { button, el, likely, problem, round } from "./dom.js";

const TOLD = "you said so";

function label(item, edit) {
  const options = [item.label, ...item.alternatives.map(a => a.label).filter(l => l !== item.label)];
  const other = "Something else…";
  const select = el("select", { "aria-label": "What it is" }, [...options, other].map(o => el("option", { value: o }, o)));
  select.addEventListener("change", () => {
    if (select.value !== other) return edit({ label: select.value });
    const text = el("input", { type: "text", placeholder: "What is it?", maxlength: 200, "aria-label": "What it is" });
    select.replaceWith(text);
    text.focus();
    text.addEventListener("change", () => text.value.trim() && edit({ label: text.value.trim() }));
  });
  return select;
}

function grams(item, edit) {
  const most = Math.max(50, Math.ceil(item.mass_g.p50 * 2.5 / 50) * 50);
  const number = el("input", { type: "number", min: 1, max: 5000, step: 1, value: Math.round(item.mass_g.p50), "aria-label": "Grams" });
  const range = el("input", { type: "range", min: 1, max: most, value: Math.round(item.mass_g.p50), "aria-label": "Grams" });
  range.addEventListener("input", () => { number.value = range.value; });
  for (const input of [range, number]) input.addEventListener("change", () => Number(input.value) > 0 && edit({ grams: Number(input.value) }));
  return el("div.gram", {}, range, number);
}

function row(item, said, edit, fixed) {
  const told = said?.grams !== undefined;
  const facts = `${round(item.kcal.p50)} kcal · ${told ? `${round(said.grams)} g, ${TOLD}` : `${round(item.mass_g.p50)} g, ${likely(item.mass_g)}`}`;
  if (fixed) return el("div.item", {}, el("b", {}, item.label), el("small.num", {}, facts));
  const portion = (share, name) => el("button.chip", { type: "button", "aria-pressed": String((said?.portion ?? 1) === share), onclick: () => edit({ portion: share === 1 ? null : share }) }, name);
  return el("div.item", { "data-item": item.id },
    el("div.head", {}, label(item, edit), el("button.icon", { type: "button", title: "This is no food", "aria-label": `Remove ${item.label}`, onclick: () => edit({ remove: true }) }, "✕")),
    el(told ? "small.told.num" : "small.num", {}, facts), grams(item, edit),
    el("div.chips", {}, el("small", {}, "Ate"), portion(0.5, "half"), portion(1, "all"), portion(2, "twice")),
    ...item.questions.map(q => el("div.chips", {}, el("small", {}, q.text), q.options.map(o =>
      el("button.chip", { type: "button", "aria-pressed": String(said?.answers?.some(a => a.question === q.id && a.option === o.label) ?? false),
        onclick: () => edit({ answers: [{ question: q.id, option: o.label }] }) }, o.kcal ? `${o.label} +${round(o.kcal)}` : o.label)))));
}

function picture(scan) {
  const { image_url: photo, overlay, scan_depth_map: depth } = scan.evidence;
  if (!photo) return null;
  const over = el("img.over", { alt: "", hidden: true });
  const chips = [["Found", overlay], ["Height", depth]].filter(([, url]) => url).map(([name, url]) =>
    el("button.chip", { type: "button", "aria-pressed": "false", onclick: event => {
      const on = over.src === url && !over.hidden;
      over.src = url;
      over.hidden = on;
      for (const c of chips) c.setAttribute("aria-pressed", String(c === event.currentTarget && !on));
    } }, name));
  return el("section.card.fields", {}, el("div.photo", {}, el("img", { src: photo, alt: "your photo" }), over), chips.length > 0 && el("div.chips", {}, chips));
}

function adding(edit) {
  const name = el("input", { type: "text", placeholder: "Something it missed", maxlength: 200, "aria-label": "Food to add" });
  const mass = el("input", { type: "number", min: 1, max: 5000, placeholder: "g", "aria-label": "Its grams" });
  const form = el("form.gram", {}, name, mass, el("button", { type: "submit", hidden: true }));
  form.addEventListener("submit", event => {
    event.preventDefault();
    if (name.value.trim() && Number(mass.value) > 0) edit({ add: true, label: name.value.trim(), grams: Number(mass.value) });
  });
  mass.addEventListener("change", () => form.requestSubmit());
  return el("div.item", {}, form);
}

/** Shows a scan that is ready or confirmed, and changes it. */
export function review(view, scan, etag) {
  const { result } = scan;
  const fixed = scan.state !== "ready";
  const trouble = el("div");
  const change = async edits => {
    trouble.replaceChildren();
    view.inert = true;
    try {
      const next = await call("PATCH", `/scans/${scan.id}`, { body: { edits }, etag });
      review(view, next.body, next.etag);
    } catch (error) {
      if (error.status === 412) {
        // Another phone was quicker: show what is there now.
        const now = await call("GET", `/scans/${scan.id}`);
        review(view, now.body, now.etag);
      } else {
        trouble.replaceChildren(problem(error));
      }
    }
    view.inert = false;
  };
  const said = id => scan.edits.find(e => e.item === id);
  const { kcal, protein_g: p, carbs_g: c, fat_g: f } = result.totals;
  const end = async verb => {
    await call("POST", `/scans/${scan.id}/${verb}`, { body: verb === "confirm" ? {} : undefined, etag });
    location.hash = verb === "confirm" ? "today" : "scan";
  };
  const removed = scan.edits.filter(e => e.remove && e.item);
  view.replaceChildren(...[
    picture(scan),
    el("section.card", {},
      el("div.total", {}, el("b.num", { id: "kcal" }, round(kcal.p50)), el("span", {}, "kcal"), el("small.num", {}, likely(kcal))),
      el("small.num", {}, `${round(p.p50)} g protein · ${round(c.p50)} g carbs · ${round(f.p50)} g fat`)),
    result.reshoot_hint && !fixed && el("p.note.warn", {}, result.reshoot_hint),
    el("section.card", {}, result.items.map(i => row(i, said(i.id), e => change([e.add ? e : { item: i.id, ...e }]), fixed)),
      removed.length > 0 && !fixed && el("div.chips", {}, removed.map(e => el("button.chip", { type: "button", onclick: () => change([{ item: e.item, remove: false }]) },
        `Put back ${scan.original_result?.items.find(i => i.id === e.item)?.label ?? e.item}`))),
      !fixed && adding(e => change([e]))),
    trouble,
    fixed ? el("section.card", {}, el("b", {}, "This meal counts."), el("p.soft", {}, "Change it in the diary."))
      : el("section.row.ends", {}, button("plain", "Throw away", () => end("reject")), button("go", "Confirm meal", () => end("confirm"))),
  ].filter(Boolean));
}
