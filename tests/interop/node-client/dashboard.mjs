// A browser, as test_dashboard.py drives it: a command a line, as JSON, and an answer to each.
//
//   node dashboard.mjs FOLDER BROWSER [ARGUMENT…]     the folder that has node_modules, the browser, and its arguments

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [folder, executablePath, ...more] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const PATIENCE_MS = 10_000;

// Root needs --no-sandbox, and containers often have a small /dev/shm.
const args = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", ...more];
const browser = await chromium.launch({ executablePath, args });
let context = null;
let page = null;
let seen = [];

const found = ({ role, name, exact = true, selector }) =>
  (role ? page.getByRole(role, { name, exact }) : page.locator(selector)).first();

const commands = {
  // A new window. What it asks of another origin than `only` is refused, and remembered; without `only` all goes.
  // `page` is what the address gives instead of what its server has.
  open: async ({ url, page: html, only, scheme = "light", width = 1280, height = 900 }) => {
    await context?.close();
    context = await browser.newContext({ colorScheme: scheme, viewport: { width, height }, reducedMotion: "reduce", bypassCSP: false });
    context.setDefaultTimeout(PATIENCE_MS);
    seen = [];
    if (only) {
      await context.route(
        (asked) => asked.origin !== only && asked.protocol !== "data:",
        (route) => {
          seen.push(`asked for ${route.request().url()}`);
          return route.abort();
        },
      );
    }
    if (html) await context.route(url, (route) => route.fulfill({ contentType: "text/html", body: html }));
    page = await context.newPage();
    page.on("pageerror", (error) => seen.push(`error: ${error.message}`));
    page.on("console", (line) => {
      const expected = /status of (400|401|422|404|412|503)|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/;
      if (line.type() === "error" && !expected.test(line.text())) seen.push(`console: ${line.text()}`);
    });
    await page.goto(url);
  },
  reload: () => page.reload().then(() => null),
  click: async ({ twice = false, ...what }) => found(what).click({ clickCount: twice ? 2 : 1 }),
  fill: async ({ value, ...what }) => found(what).fill(value),
  focus: async (what) => found(what).focus(),
  press: async ({ keys }) => {
    for (const key of keys) await page.keyboard.press(key);
  },
  // Clicks, and gives the text of the file that is saved.
  download: async (what) => {
    const [saved] = await Promise.all([page.waitForEvent("download"), found(what).click()]);
    return readFileSync(await saved.path(), "utf8");
  },
  text: async (what) => found(what).innerText(),
  value: async (what) => found(what).inputValue(),
  attribute: async ({ attribute, ...what }) => found(what).getAttribute(attribute),
  visible: async (what) => found(what).isVisible(),
  count: async ({ selector }) => page.locator(selector).count(),
  // Waits until an element shows a text.
  wait: async ({ text, ...what }) => found(what).filter({ hasText: new RegExp(text) }).waitFor(),
  // The width that the page would like to have, and the one that it has.
  widths: () => page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]),
  run: ({ script }) => page.evaluate(script),
  axe: async () => {
    // Straight into the page's world, which its policy does not concern.
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    return violations.map(({ id, impact, nodes }) => ({ id, impact, where: nodes.map((node) => node.target.join(" ")).slice(0, 5) }));
  },
  screenshot: ({ path, whole = true }) => page.screenshot({ path, fullPage: whole }).then(() => null),
  // What the window should not have had to say.
  seen: () => seen,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...what } = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await commands[command](what)) ?? null };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
