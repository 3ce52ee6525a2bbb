// The web page in headless Chromium against a running `dragunov serve --engine stub`: drop a photo, measure, see the masks,
// correct names, grams, portions and answers, point at what was missed, take back and confirm; a second side and a note; a
// HEIC, a phone's sensors, a refused photo, widths.
//
// Requires playwright-core 1.64 (npm) and a Chromium. Usage:
//   node page.mjs URL PHOTO SECOND HEIC OUT_DIR      CHROMIUM=/usr/bin/chromium   PAGE=web/index.html (that file instead of the one served)
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.NODE_ROOT ?? process.cwd(), "x.js"));
const { chromium } = require("playwright-core");
const [url, photo, second, heic, out] = process.argv.slice(2);
mkdirSync(out, { recursive: true });

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const errors = [];

async function open(size, options = {}) {
  const context = await browser.newContext({ viewport: size, deviceScaleFactor: 1, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  page.on("pageerror", e => errors.push(String(e)));
  page.on("console", m => m.type() === "error" && !/status of 4\d\d/.test(m.text()) && errors.push(m.text()));
  if (process.env.PAGE) await page.route(url + "/", r => r.fulfill({ path: process.env.PAGE, contentType: "text/html" }));
  page.sent = [];
  // What a form holds is told of requests only that are looked at on their way.
  await page.route("**/v1/scan", r => { page.sent.push(r.request().postData() ?? ""); r.continue(); });
  await page.goto(url);
  return page;
}

async function measured(page, file = photo) {
  await page.setInputFiles("#file", file);
  await page.click("#go");
  await page.waitForSelector(".item", { timeout: 120_000 });
}
const overflow = page => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
const shot = (page, name) => page.screenshot({ path: path.join(out, name), fullPage: true });

/** Share of the canvas's pixels that a toggle changes. */
async function changes(page, toggle) {
  const pixels = () => page.evaluate(() => {
    const c = document.getElementById("canvas");
    return Array.from(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.filter((_, i) => i % 4 < 3 && i % 28 < 3));
  });
  const before = await pixels();
  await page.click(toggle);
  const after = await pixels();
  await page.click(toggle);
  return before.filter((v, i) => v !== after[i]).length / before.length;
}

const wide = await open({ width: 1280, height: 900 });
await shot(wide, "empty.png");
assert(await wide.isDisabled("#go"), "nothing to measure yet");
// A plate of any size, and no tilt that nobody stated.
await wide.fill("#plate", "29.2");
await measured(wide);
assert.match(wide.sent.at(-1), /"diameter_cm":29.2/);
assert.doesNotMatch(wide.sent.at(-1), /pitch_deg|gravity/);
assert(await wide.isHidden("[data-mode=sensor]"), "a machine without sensors offers none");

const kcal = async () => Number(await wide.textContent("#kcal"));
const first = await kcal();
assert(first > 0);
assert.match(await wide.textContent("#kcal-range"), /^likely \d+ to \d+$/);
assert((await changes(wide, "#t-masks")) > 0.005, "the masks are drawn");
assert((await changes(wide, "#t-labels")) > 0.005, "the labels are drawn");
assert((await changes(wide, "#t-depth")) > 0.3, "the depth picture covers the photo");
assert.match(await wide.textContent("#legend"), /decode [\d.]+ ms/);
assert.match(await wide.textContent("#changes"), /None so far/);
await shot(wide, "measured.png");

const items = wide.locator(".item"), item = items.first();
const grams = async of => Number.parseFloat(await of.locator(".g").textContent());
/** Does it and waits until the service has answered. */
async function recomputed(does) {
  const answered = wide.waitForResponse(r => r.url().endsWith("/v1/recompute"));
  await does();
  const answer = await answered;
  await wide.waitForTimeout(50);
  return answer;
}

// Twice the share is twice the grams.
await recomputed(() => item.locator("input[type=range]").fill("0.75"));
const before = await grams(item);
await recomputed(() => item.locator("input[type=range]").fill("1.5"));
assert(Math.abs((await grams(item)) / before - 2) < 0.02, "twice the portion is twice the grams");
assert((await kcal()) > first);
assert.match(await wide.textContent("#changes"), /150 % of it/);
assert.match(await wide.textContent("#kcal-was"), new RegExp(`measured: ${first}`));

// Told grams are exact, say who said them, and move what shares the scale.
const other = await grams(items.nth(1));
await recomputed(async () => { await item.getByLabel("Told grams").fill("300"); await item.getByLabel("Told grams").press("Tab"); });
assert.match(await item.locator(".origins").textContent(), /told grams/);
assert.match(await item.locator(".origins").textContent(), /looked up .*density/);
assert.match(await wide.textContent("#changes"), /300 g told/);
assert.notEqual(await grams(items.nth(1)), other, "the other item follows");
assert.match(await wide.textContent("#changes"), /follows/);

// Another name: typed, or one of those that were offered.
const label = await item.locator(".name b").textContent();
await item.locator(".name").click();
await shot(wide, "name.png");
await recomputed(async () => { await item.getByLabel("What is it?").fill("mashed potato"); await item.getByLabel("What is it?").press("Enter"); });
assert.match(await item.locator(".name b").textContent(), /mashed potato/);
assert.match(await item.locator(".origins").textContent(), /told name/);
assert(await item.locator(".again").isVisible());

// What cannot be is refused in the service's words and taken back.
const sane = await kcal();
await recomputed(async () => { await item.getByLabel("Told grams").fill("90000"); await item.getByLabel("Told grams").press("Tab"); });
assert.match(await wide.textContent("#edit-error"), /90000 is not between/);
assert.equal(await kcal(), sane);

// An answer to a question counts, stays pressed, and can be taken back.
const chips = wide.locator(".ask .chip");
if (await chips.count()) {
  const chip = chips.last(), text = await chip.textContent();
  const asked = await kcal();
  await recomputed(() => chip.click());
  assert.notEqual(await kcal(), asked);
  await recomputed(() => wide.locator(".ask .chip[aria-pressed=true]", { hasText: text }).click());
  assert.equal(await kcal(), asked);
}

// Removed, added, undone.
await recomputed(() => items.nth(1).getByText("Not on the plate").click());
assert.equal(await items.count(), 1);
await wide.click("#add");
await wide.getByLabel("Its grams").fill("30");
await wide.getByLabel("What was missed?").fill("olive oil");
await recomputed(() => wide.getByLabel("What was missed?").press("Enter"));
assert.equal(await items.count(), 2);
assert.match(await wide.textContent("#changes"), /removed.*added, 30 g told/s);
await shot(wide, "corrected.png");
for (let left = await wide.locator("#changes .quiet").count(); left; left--) {
  const undo = () => wide.locator("#changes .quiet").first().click();
  if (left > 1) await recomputed(undo); else await undo();
}
assert.equal(await kcal(), first, "undone, it is what was measured");
assert.match(await item.locator(".name b").textContent(), new RegExp(label));

// A food that was missed is tapped on the photo: it is looked for there, with the photo and what was said of it.
await recomputed(() => item.getByText("Not on the plate").click());
assert.equal(await items.count(), 1);
const tap = async (page, x, y) => {
  const box = await page.locator("#canvas").boundingBox();
  await page.locator("#canvas").click({ position: { x: x * box.width, y: y * box.height } });
};
await tap(wide, 0.36, 0.52);
assert(await wide.isVisible("#spot"), "nothing lies here any more: it is asked for");
await shot(wide, "spot.png");
await wide.click("#spot-no");
assert(await wide.isHidden("#spot"));
await tap(wide, 0.36, 0.52);
const looked = await recomputed(() => wide.click("#spot-yes"));
assert.equal(looked.status(), 200);
const placed = looked.request().postDataJSON();
assert.equal(placed.edits[1].add, true);
assert(Math.abs(placed.edits[1].point[0] / placed.original.image.width - 0.36) < 0.01);
assert.equal(placed.reference.diameter_cm, 29.2);
assert(placed.photo.image.base64.length > 1000);
await wide.waitForFunction(() => document.querySelectorAll(".item").length === 2);
assert.match(await wide.textContent("#changes"), /added, measured where you pointed/);
// What was found there is corrected like any other.
await recomputed(async () => { await items.last().getByLabel("Told grams").fill("222"); await items.last().getByLabel("Told grams").press("Tab"); });
assert.equal(await grams(items.last()), 222);
await shot(wide, "placed.png");
// Nothing lies there: it is said, and taken back.
await tap(wide, 0.03, 0.03);
const nothing = await recomputed(() => wide.click("#spot-yes"));
assert.equal(nothing.status(), 422);
await wide.waitForSelector("#edit-error:not([hidden])");
assert.equal(await items.count(), 2);
for (let left = await wide.locator("#changes .quiet").count(); left; left--) {
  const undo = () => wide.locator("#changes .quiet").first().click();
  if (left > 1) await recomputed(undo); else await undo();
}
assert.equal(await kcal(), first);

// Confirmed, it is kept as JSON: the new result, the edits and the original.
await recomputed(async () => { await item.getByLabel("Told grams").fill("120.5"); await item.getByLabel("Told grams").press("Tab"); });
await wide.click("#confirm");
assert.match(await wide.getAttribute("#save", "href"), /^blob:/);
const kept = JSON.parse(await wide.textContent("#json-text"));
assert.equal(kept.edits[0].grams, 120.5);
assert.equal(kept.original.totals.kcal.p50.toFixed(0), String(first));
await shot(wide, "confirmed.png");
await wide.click("#reopen");

// By hand a tilt is sent once it was set.
await wide.click("[data-mode=hand]");
assert.equal(await wide.textContent("#pitch-out"), "not set");
await wide.locator("#pitch").fill("41");
await wide.click("#go");
await wide.waitForFunction(() => document.querySelector("#changes")?.textContent.includes("None so far"));
assert.match(wide.sent.at(-1), /"pitch_deg":41[,}]/);

// A second side of the same meal, and a note.
await wide.setInputFiles("#more", [second]);
await wide.waitForFunction(() => document.querySelectorAll(".thumb").length === 2);
await wide.fill("#note", "I ate half of it");
await shot(wide, "two-photos.png");
await wide.click("#go");
await wide.waitForSelector(".item");
assert.equal(wide.sent.at(-1).match(/name="image"/g).length, 2);
assert.match(wide.sent.at(-1), /"note":"I ate half of it"/);
assert.match(await wide.textContent("#noted"), /I ate half of it/);
const whole = await kcal();
await recomputed(() => wide.locator("#noted .chip").click());
await wide.waitForFunction(() => document.querySelector("#noted .chip").ariaPressed === "true");
assert.equal((await wide.textContent("#changes")).match(/50 % of it/g).length, await items.count());
assert((await kcal()) < 0.6 * whole);
await wide.locator(".thumb button").nth(2).click();
assert((await changes(wide, "#t-masks")) > 0.002, "what was found on the second photo is drawn there");
await shot(wide, "second-photo.png");
await wide.locator(".thumb .x").last().click();
assert.equal(await wide.locator(".thumb").count(), 0);
await wide.fill("#note", "");

// A refusal is told in the service's words.
await wide.setInputFiles("#file", { name: "x.png", mimeType: "image/png", buffer: readFileSync(photo).subarray(0, 900) });
await wide.waitForSelector("#error:not([hidden])");
assert.match(await wide.textContent("#error"), /photo|picture/);

// What this browser cannot show is measured all the same, and shown as the service saw it.
await measured(wide, heic);
const [w, h] = await wide.evaluate(() => { const c = document.getElementById("canvas"); return [c.width, c.height]; });
assert(h > w, `turned upright: ${w} x ${h}`);
await shot(wide, "heic.png");

// A phone: its sensor tells the tilt, and nothing is wider than the screen.
const phone = await open({ width: 390, height: 844 }, { colorScheme: "dark", hasTouch: true, isMobile: true });
const devtools = await phone.context().newCDPSession(phone);
await devtools.send("DeviceOrientation.setDeviceOrientationOverride", { alpha: 10, beta: 33, gamma: 0 });
await shot(phone, "phone-empty.png");
await phone.click("[data-mode=sensor]");
await phone.waitForFunction(() => document.getElementById("pitch-out").textContent === "33° now");
assert((await overflow(phone)) <= 0);
await phone.click("#hold");
await devtools.send("DeviceOrientation.setDeviceOrientationOverride", { alpha: 10, beta: 70, gamma: 0 });
await measured(phone);
assert.match(phone.sent.at(-1), /"pitch_deg":3[23]\.\d|"pitch_deg":33[,}]/);
assert((await overflow(phone)) <= 0, `the page is ${await overflow(phone)} px too wide on a phone`);
// Names are looked up while they are typed, and the one that is picked counts.
await phone.route("**/v1/foods*", r => r.fulfill({ json: { foods: {}, found: [{ food_id: "couscous_cooked", name: "couscous, cooked", kcal_100g: 112 }, { food_id: null, name: "grains", kcal_100g: 130 }] } }));
await phone.locator(".name").first().click();
await phone.locator(".item").first().getByLabel("What is it?").fill("cous");
await phone.locator(".find li button", { hasText: "couscous, cooked112 kcal / 100 g" }).waitFor();
assert.equal(await phone.locator(".find li").count(), 1, "averages are not offered");
await shot(phone, "phone-name.png");
await phone.locator(".find li button").first().click();
await phone.waitForFunction(() => document.getElementById("changes").textContent.includes("is couscous"));
await phone.locator(".item").first().getByLabel("Told grams").fill("250");
await phone.locator(".item").first().getByLabel("Told grams").press("Tab");
await phone.waitForFunction(() => document.getElementById("changes").textContent.includes("250 g told"));
assert((await overflow(phone)) <= 0);
await shot(phone, "phone.png");
await phone.setInputFiles("#more", [second]);
await phone.waitForFunction(() => document.querySelectorAll(".thumb").length === 2);
assert((await overflow(phone)) <= 0);
await shot(phone, "phone-two.png");
await phone.click("#go");
await phone.waitForSelector(".item");
await phone.locator("#canvas").scrollIntoViewIfNeeded();
await tap(phone, 0.05, 0.9);
assert((await overflow(phone)) <= 0);
await shot(phone, "phone-spot.png");

assert.deepEqual(errors, []);
await browser.close();
console.log("page: all passed");
