// The page: which view is shown, and what the socket says.

import { signIn } from "./api.js";
import { problem } from "./dom.js";
import { kitchen } from "./kitchen.js";
import { live } from "./live.js";
import { out } from "./out.js";
import { scan } from "./scan.js";
import { today } from "./today.js";

const VIEWS = { today: ["Today", today], scan: ["Scan a meal", scan], kitchen: ["Leftovers", kitchen], out: ["Eat out", out] };
const view = document.getElementById("view");
const toast = document.getElementById("toast");

function place() {
  const [name, id] = location.hash.slice(1).split("/");
  return VIEWS[name] ? [name, id] : ["today"];
}

function show() {
  const [name, id] = place();
  const [title, render] = VIEWS[name];
  document.getElementById("title").textContent = title;
  for (const link of document.querySelectorAll("nav a")) {
    link.toggleAttribute("aria-current", link.hash === `#${name}`);
  }
  toast.hidden = true;
  render(view, id);
}

function told(notice) {
  const [name, id] = place();
  if (name === "today") today(view);
  if (notice.kind !== "scan_ready" || (name === "scan" && id === notice.id)) return;
  toast.textContent = "Scan Complete. Tap to Confirm";
  toast.onclick = () => { location.hash = `scan/${notice.id}`; };
  toast.hidden = false;
}

try {
  await signIn();
  addEventListener("hashchange", show);
  show();
  live(told, on => {
    const state = document.getElementById("live");
    state.textContent = on ? "live" : "reconnecting";
    state.classList.toggle("on", on);
  });
} catch (error) {
  view.replaceChildren(problem(error));
}
