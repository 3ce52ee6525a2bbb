// From a photo to a confirmed meal: upload, watch it arrive, correct, confirm.

import { call, events, get } from "./api.js";
import { button, el, problem } from "./dom.js";
import { review } from "./review.js";

const STEPS = [["created", "Upload"], ["uploaded", "Sent"], ["queued", "Waiting"], ["running", "Measuring"], ["ready", "Ready"]];
const KINDS = ["image/jpeg", "image/png", "image/webp", "image/heic"];

function steps(state) {
  const at = STEPS.findIndex(([name]) => name === state);
  return el("ol.steps", { "aria-label": "Progress" }, STEPS.map(([name, label], i) =>
    el(i < at || state === "ready" ? "li.done" : i === at ? "li.on" : "li", { "data-state": name, "aria-current": i === at && "step" }, label)));
}

/** The form for a new scan. */
function begin(view) {
  let files = [];
  const input = el("input", { type: "file", accept: KINDS.join(","), multiple: true, id: "photos" });
  const thumbs = el("div.thumbs", { hidden: true });
  const pitch = el("input", { type: "range", min: 0, max: 90, value: 45, id: "pitch" });
  const shown = el("output", {}, "45°");
  pitch.addEventListener("input", () => { shown.textContent = `${pitch.value}°`; });
  const plate = el("input", { type: "number", min: 5, max: 60, step: 0.5, placeholder: "as in your profile", id: "plate", inputmode: "decimal" });
  input.addEventListener("change", () => {
    files = [...input.files].slice(0, 6);
    thumbs.replaceChildren(...files.map(f => el("img", { src: URL.createObjectURL(f), alt: f.name })));
    thumbs.hidden = files.length === 0;
    go.disabled = files.length === 0;
  });
  const go = button("go.wide", "Measure this meal", async () => {
    const measured = { pitch_deg: Number(pitch.value) };
    const body = { photos: files.map(f => ({ content_type: f.type, bytes: f.size, ...measured })), sent_at: new Date().toISOString() };
    if (plate.value) body.plate_diameter_cm = Number(plate.value);
    const made = (await call("POST", "/scans", { body, key: crypto.randomUUID() })).body;
    view.replaceChildren(el("section.card", {}, thumbs, steps("created")));
    await Promise.all(made.uploads.map(upload => send(upload, files[upload.position - 1])));
    await call("POST", `/scans/${made.scan.id}/uploaded`);
    location.hash = `scan/${made.scan.id}`;
  });
  go.disabled = true;
  view.replaceChildren(
    el("section.card.fields", {},
      el("label.drop", {}, input, el("span.plate", { "aria-hidden": true }), el("strong", {}, "Photo of your plate"),
        el("span.soft", {}, "From above at an angle, the whole plate in view. Up to six photos of one meal.")),
      thumbs,
      el("label.field", { for: "pitch" }, el("span", {}, "How steeply you looked down", shown), pitch,
        el("small", {}, "0° is straight down, 90° is along the table.")),
      el("label.field", { for: "plate" }, el("span", {}, "Plate across, in cm"), plate),
      go),
    recent());
}

async function send({ put }, file) {
  const answer = await fetch(put.url, { method: "PUT", headers: put.headers, body: file });
  if (!answer.ok) throw new Error("The photo was not taken by the storage.");
}

function recent() {
  const list = el("ul.list");
  const card = el("section.card", { hidden: true }, el("h2", {}, "Recent scans"), list);
  get("/scans?limit=6").then(page => {
    card.hidden = page.items.length === 0;
    list.replaceChildren(...page.items.map(s => el("li", {},
      el("div.grow", {}, el("b", {}, new Date(s.created_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })),
        el("small", {}, s.error ? `${s.state}: ${s.error.replaceAll("_", " ")}` : s.state)),
      el("a.chip", { href: `#scan/${s.id}` }, "Open"))));
  }).catch(() => {});
  return card;
}

function ended(scan) {
  const why = { photo_unreadable: "This is no photo that can be read.", photo_empty: "The photo was empty.", no_food_found: "No food was found in it." };
  const words = scan.state === "failed" ? why[scan.error] ?? `It could not be measured (${(scan.error ?? "unknown").replaceAll("_", " ")}).`
    : scan.state === "expired" ? "It waited too long." : "You threw this one away.";
  return el("section.card.fields", {}, el("p.note.bad", {}, words), el("a.go.wide", { href: "#scan", role: "button" }, "Scan another meal"));
}

let following;

/** One scan, from wherever it is to its end. */
async function follow(view, id) {
  following?.abort();
  const mine = following = new AbortController();
  const show = async () => {
    const { body: scan, etag } = await call("GET", `/scans/${id}`);
    if (mine.signal.aborted) return true;
    if (scan.state === "ready" || scan.state === "confirmed") {
      review(view, scan, etag);
    } else if (["failed", "expired", "rejected"].includes(scan.state)) {
      view.replaceChildren(ended(scan));
    } else {
      const photo = scan.photos.find(p => p.image_url);
      view.replaceChildren(el("section.card", {}, photo && el("div.photo", {}, el("img", { src: photo.image_url, alt: "your photo" })), steps(scan.state)));
      return false;
    }
    return true;
  };
  try {
    while (!await show()) {
      for await (const _ of events(`/scans/${id}/events?wait=60`, mine.signal)) if (await show()) return;
    }
  } catch (error) {
    if (!mine.signal.aborted) view.replaceChildren(problem(error));
  }
}

export function scan(view, id) {
  following?.abort();
  if (id) return follow(view, id);
  begin(view);
}
