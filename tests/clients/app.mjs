// The demo client of `bio-bff dev` in headless Chromium, phone width first: rings, a photo that arrives by itself, a
// correction, a confirmation that moves the ring, leftovers, a restaurant.
//
// Requires playwright-core 1.64 (npm) and a Chromium. Usage:
//   node app.mjs URL PHOTO OUT_DIR      CHROMIUM=/usr/bin/chromium
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
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
  const context = await browser.newContext({ viewport: size, colorScheme: scheme, deviceScaleFactor: 2, locale: "en-GB" });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on("pageerror", e => errors.push(String(e)));
  // A refused policy is an error of the console too.
  page.on("console", m => m.type() === "error" && !/status of 4\d\d/.test(m.text()) && errors.push(m.text()));
  await page.goto(`${url}/app`);
  await page.waitForSelector(".live.on");
  return page;
}

const shot = (page, name) => page.screenshot({ path: path.join(out, `${name}.png`), fullPage: true });
const tab = (page, name) => page.click(`nav a[href="#${name}"]`);

async function fits(page) {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert(over <= 0, `${over} px too wide on a phone`);
}

/** What the inner ring says. */
async function eaten(page) {
  await tab(page, "today");
  await page.waitForSelector(".rings");
  return page.evaluate(async () => {
    const { get } = await import("/app/api.js");
    return (await get("/dashboard/state")).totals.calories;
  });
}

const phone = await open({ width: 390, height: 844 });
const other = await open({ width: 390, height: 844 }, "dark");
const csp = (await phone.request.get(`${url}/app`)).headers()["content-security-policy"];
assert.match(csp, /default-src 'none'; script-src 'self'/);

await phone.waitForSelector(".rings");
await fits(phone);
await shot(phone, "today");
await shot(other, "today-dark");
const before = await eaten(phone);

if (process.env.WITHOUT_SCANS !== "1") {
  await tab(phone, "scan");
  assert(await phone.isDisabled("button.go"), "nothing to measure yet");
  await phone.setInputFiles("#photos", photo);
  await phone.fill("#pitch", "25");
  await phone.fill("#plate", "29.9");
  await shot(phone, "photo");
  await phone.click("button.go");
  await phone.waitForSelector(".steps");
  await shot(phone, "measuring");
  await phone.waitForSelector(".item[data-item]", { timeout: 120_000 });
  // The other phone hears of it by itself.
  await other.waitForSelector("#toast:not([hidden])");
  assert.equal(await other.textContent("#toast"), "Scan Complete. Tap to Confirm");
  await shot(other, "complete-dark");
  await fits(phone);
  await shot(phone, "result");

  const kcal = async () => Number((await phone.textContent("#kcal")).replaceAll(",", ""));
  const measured = await kcal();
  const item = phone.locator(".item[data-item]").first();
  const grams = item.locator("input[type=number]");
  const told = Math.round(Number(await grams.inputValue()) * 1.5) + 10;
  await grams.fill(String(told));
  await grams.press("Tab");
  await phone.waitForSelector(".told");
  assert.match(await item.locator(".told").textContent(), new RegExp(`${told} g, you said so`));
  assert((await kcal()) > measured, "more grams, more energy");
  const options = await item.locator("select option").count();
  if (options > 2) {
    await item.locator("select").selectOption({ index: 1 });
    await phone.waitForFunction(() => !document.getElementById("view").inert);
  }
  await shot(phone, "corrected");
  const final = await kcal();
  await phone.click("button.go:has-text('Confirm')");
  await phone.waitForFunction(() => location.hash === "#today");
  const after = await eaten(phone);
  assert(Math.abs(after - before - final) <= 1, `${before} + ${final} is not ${after}`);
  // Confirmed once: the other phone, which still shows it, is told.
  await other.click("#toast");
  await other.waitForSelector("text=This meal counts.");
  await phone.waitForSelector(".meals li");
  await shot(phone, "confirmed");
}

const full = await eaten(phone);
await tab(phone, "kitchen");
await phone.waitForSelector(".leftovers li");
await shot(phone, "leftovers");
const servings = phone.locator(".leftovers li small").first();
const left = await servings.textContent();
await phone.locator(".leftovers button.chip").first().click();
await phone.waitForFunction(was => document.querySelector(".leftovers li small").textContent !== was, left);
assert((await eaten(phone)) > full, "what is eaten counts");

await tab(phone, "out");
await phone.fill("input[name=name]", "The Sample Café");
await phone.press("input[name=name]", "Enter");
await phone.waitForSelector(".menu li");
assert.match(await phone.textContent(".note.warn"), /Told by a language model .* never measured/);
await fits(phone);
await shot(phone, "menu");
const logged = await eaten(phone);
await tab(phone, "out");
await phone.fill("input[name=name]", "sample cafe");
await phone.press("input[name=name]", "Enter");
await phone.locator(".menu button.chip").first().click();
await phone.waitForFunction(() => location.hash === "#today");
assert((await eaten(phone)) > logged, "a logged dish counts");
await tab(phone, "out");
await phone.fill("input[name=name]", "1234");
await phone.press("input[name=name]", "Enter");
await phone.waitForSelector(".note.bad");

const wide = await open({ width: 1280, height: 900 });
await wide.waitForSelector(".rings");
await shot(wide, "wide");

assert.deepEqual(errors, []);
await browser.close();
console.log("app: all passed");
