// The web page in headless Chromium against a running `dragunov serve --engine stub`: drop a photo, measure, see the
// masks, correct a label and a portion, see the totals change; a refused photo; a phone's width.
//
// Requires playwright-core 1.64 (npm) and a Chromium. Usage:
//   node page.mjs URL PHOTO OUT_DIR      CHROMIUM=/usr/bin/chromium
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.NODE_ROOT ?? process.cwd(), "x.js"));
const { chromium } = require("playwright-core");
const [url, photo, out] = process.argv.slice(2);
mkdirSync(out, { recursive: true });

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const errors = [];

async function open(size, scheme = "light") {
  const context = await browser.newContext({ viewport: size, colorScheme: scheme, deviceScaleFactor: 1 });
  const page = await context.newPage();
  page.on("pageerror", e => errors.push(String(e)));
  page.on("console", m => m.type() === "error" && !/status of 4\d\d/.test(m.text()) && errors.push(m.text()));
  await page.goto(url);
  return page;
}

async function measured(page) {
  await page.setInputFiles("#file", photo);
  await page.fill("#plate", "26");
  await page.click("#go");
  await page.waitForSelector(".item", { timeout: 120_000 });
}

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
await wide.screenshot({ path: path.join(out, "empty.png") });
assert(await wide.isDisabled("#go"), "nothing to measure yet");
await measured(wide);
const kcal = async () => Number(await wide.textContent("#kcal"));
const first = await kcal();
assert(first > 0);
assert.match(await wide.textContent("#kcal-range"), /^likely \d+ to \d+$/);
assert((await changes(wide, "#t-masks")) > 0.005, "the masks are drawn");
assert((await changes(wide, "#t-labels")) > 0.005, "the labels are drawn");
assert((await changes(wide, "#t-depth")) > 0.3, "the depth picture covers the photo");
assert.match(await wide.textContent("#legend"), /decode [\d.]+ ms/);
await wide.screenshot({ path: path.join(out, "measured.png"), fullPage: true });

// A larger portion raises the total by that item's share.
const item = wide.locator(".item").first();
const grams = async () => Number.parseFloat(await item.locator(".g").textContent());
const before = await grams();
await item.locator("input[type=range]").fill("2");
assert(Math.abs((await grams()) / before - 2) < 0.02, "twice the portion is twice the grams");
const second = await kcal();
assert(second > first, `${second} > ${first}`);

// Another label changes energy; macros of a label that was not measured are not made up.
const options = await item.locator("select option").count();
if (options > 2) {
  await item.locator("select").selectOption("1");
  assert.notEqual(await kcal(), second);
  assert.match(await wide.textContent("#macros"), /≥/);
  assert(await item.locator(".again").isVisible());
}
// A question's answer adds its energy.
const asked = await kcal();
const chip = item.locator(".ask .chip").last();
if (await chip.count()) {
  await chip.click();
  assert.notEqual(await kcal(), asked);
}
await wide.locator("#json summary").click();
assert.equal(JSON.parse(await wide.textContent("#json-text")).status, "pending_confirmation");

// A refusal is told in the service's words.
await wide.setInputFiles("#file", { name: "x.png", mimeType: "image/png", buffer: readFileSync(photo).subarray(0, 900) });
await wide.waitForSelector("#error:not([hidden])");
assert.match(await wide.textContent("#error"), /photo|picture/);

const phone = await open({ width: 390, height: 844 }, "dark");
await measured(phone);
const overflow = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
assert(overflow <= 0, `the page is ${overflow} px too wide on a phone`);
await phone.screenshot({ path: path.join(out, "phone.png"), fullPage: true });

assert.deepEqual(errors, []);
await browser.close();
console.log("page: all passed");
