// The table of rules: switches, percentages and delays to drag, counters.

import { call, inWords, part, Refused } from "./api.js";
import { byId, element, keyed, message, setAttribute, setText } from "./dom.js";
import { count, duration, parseDuration, parsePercentage, seconds } from "./format.js";
import { Slide } from "./slide.js";

const MOST_ROWS = 100;
const ATTEMPTS = 3;
const SHORTEST_MS = 1;
const LONGEST_MS = 60_000;
// What the API shows in place of secrets. A list with them can't be sent back.
const MASKED = /\*\*\*|\$\{/;

// How many rows have said what narrows their share, for their ids.
let shares = 0;

const idOf = (rule) => `${rule.space ?? ""}\n${rule.name}`;

function place(rule, more = "") {
  const space = rule.space ? `?space=${encodeURIComponent(rule.space)}` : "";
  return `/rules/${encodeURIComponent(rule.name)}${more}${space}`;
}

// The fixed delay of a rule: where it is among its faults, and its milliseconds. Null unless there is exactly one.
export function plainDelay(spec) {
  const faults = Array.isArray(spec?.faults) ? spec.faults : [];
  const places = faults.flatMap((fault, at) => (fault && "delay" in fault ? [at] : []));
  if (places.length !== 1 || MASKED.test(JSON.stringify(faults))) return null;
  const typed = faults[places[0]].delay;
  const value = parseDuration(typeof typed === "string" ? typed : typed?.fixed);
  return value === null ? null : { at: places[0], value };
}

// The patch that gives a rule another fixed delay. A merge patch replaces lists as a whole, so it has all faults.
export function delayPatch(spec, value) {
  const { at } = plainDelay(spec);
  const faults = structuredClone(spec.faults);
  const old = faults[at].delay;
  faults[at].delay = typeof old === "string" ? duration(value) : { ...old, fixed: duration(value) };
  return { faults };
}

export class Rules {
  constructor() {
    this.rules = [];
    this.body = document.querySelector("#rules tbody");
    byId("rules-filter").addEventListener("input", () => this.draw());
  }

  async read() {
    const answer = await part("/rules");
    byId("rules-panel").hidden = answer === null;
    this.rules = answer?.rules ?? [];
    this.draw();
  }

  // Counters of the rules that have matched something.
  count(counters) {
    const known = new Map(counters.map((one) => [idOf(one), one]));
    for (const rule of this.rules) Object.assign(rule, known.get(idOf(rule)));
    for (const row of this.body.children) {
      const counter = known.get(row.dataset.key);
      if (counter) numbers(row, counter);
      if (counter) tags(row);
    }
  }

  draw() {
    const wanted = byId("rules-filter").value.trim().toLowerCase();
    const text = (rule) => `${rule.name} ${rule.match ?? ""} ${rule.space ?? ""}`.toLowerCase();
    const found = this.rules.filter((rule) => text(rule).includes(wanted));
    keyed(this.body, found.slice(0, MOST_ROWS), idOf, (rule) => this.row(rule), (row, rule) => this.update(row, rule));
    const off = this.rules.filter((rule) => !rule.enabled).length;
    setText(byId("rules-count"), `${count(this.rules.length)}${off ? `, ${count(off)} off` : ""}`);
    const more = found.length - MOST_ROWS;
    const none = this.rules.length ? "No rule has that text." : "There are no rules.";
    setText(byId("rules-note"), more > 0 ? `${count(more)} more: type a part of a name into the filter.` : found.length ? "" : none);
  }

  row(rule) {
    const row = element("tr");
    const current = () => row.rule;
    const toggle = element("button", { type: "button", class: "switch", role: "switch", "aria-label": `rule ${rule.name}`,
      onclick: () => this.change(current(), () => ({ enabled: !current().enabled })) });
    const percentage = new Slide({
      label: `percentage of requests that ${rule.name} hits`, from: 0, to: 100, step: 0.5,
      parse: parsePercentage, text: (value) => `${value}%`, help: "0% to 100%",
      save: (value) => this.change(current(), () => ({ when: { percentage: `${value}%` } })),
    });
    const delay = new Slide({
      label: `delay of ${rule.name}`, from: SHORTEST_MS, to: LONGEST_MS, logarithmic: true,
      parse: parseDuration, text: duration, help: "a time such as 250ms or 2s",
      save: (value) => this.change(current(), (fresh) => delayPatch(fresh.spec, value)),
    });
    row.slides = { percentage, delay };
    const share = element("span", { class: "under share", id: `share-${(shares += 1)}` });
    percentage.range.setAttribute("aria-describedby", share.id);
    row.append(
      element("td", {}, toggle),
      element("th", { scope: "row" }, element("span", { class: "name" }), element("span", { class: "tags" }), element("span", { class: "under" })),
      element("td", { class: "wide" }, percentage.element, share),
      element("td", { class: "wide" }, delay.element),
      ...["matched", "hits", "active"].map((name) => element("td", { class: "number", "data-name": name })),
      element("td", { class: "actions" }),
    );
    return row;
  }

  update(row, rule) {
    row.rule = rule;
    const [, title, percentage, delay] = row.children;
    const toggle = row.querySelector(".switch");
    setAttribute(toggle, "aria-checked", rule.enabled);
    setText(toggle, rule.enabled ? "on" : "off");
    row.classList.toggle("off", !rule.enabled);
    setText(title.querySelector(".name"), rule.name);
    tags(row);
    setText(title.querySelector(".under"), describe(rule));
    const value = typeof rule.percentage === "number" ? rule.percentage : null;
    percentage.classList.toggle("none", !row.slides.percentage.show(value));
    // What the slider can't show, such as `every: 3`.
    setText(percentage.querySelector(".share"), rule.share === `${value}%` ? "" : rule.share);
    delay.classList.toggle("none", !row.slides.delay.show(plainDelay(rule.spec)?.value ?? null));
    numbers(row, rule);
    this.actions(row.lastElementChild, row);
  }

  actions(cell, row) {
    const { rule } = row;
    const wanted = [["reset", "Reset", "forget the counters and remembered keys of"]];
    if (rule.layer === "api") wanted.push(["remove", rule.shadows ? "Revert" : "Remove", rule.shadows ? "bring back the file's" : "remove"]);
    keyed(cell, wanted, ([id, text]) => id + text,
      ([id, text, what]) => element("button", { type: "button", "aria-label": `${text}: ${what} rule ${rule.name}`, onclick: () => this.act(row.rule, id) }, text),
      () => {});
  }

  async act(rule, what) {
    try {
      if (what === "reset") await call(place(rule, "/reset"), { method: "POST" });
      else await call(place(rule), { method: "DELETE" });
      message();
      await this.read();
    } catch (error) {
      message(`The rule ${rule.name} was not changed: ${inWords(error)}`);
    }
  }

  // Patches a rule as it is now. If somebody else has changed it meanwhile, the patch is made again from what it is then.
  async change(rule, patch) {
    try {
      let fresh = rule;
      for (let attempt = 1; ; attempt += 1) {
        const headers = { "if-match": `"${fresh.revision}"`, "content-type": "application/merge-patch+json" };
        try {
          const changed = await call(place(rule), { method: "PATCH", json: patch(fresh), headers });
          this.replace(changed);
          message();
          return;
        } catch (error) {
          if (!(error instanceof Refused) || error.status !== 412 || attempt === ATTEMPTS) throw error;
          fresh = await call(place(rule));
        }
      }
    } catch (error) {
      message(`The rule ${rule.name} was not changed: ${inWords(error)}`);
      this.draw();
      throw error;
    }
  }

  replace(changed) {
    this.rules = this.rules.map((rule) => (idOf(rule) === idOf(changed) ? changed : rule));
    this.draw();
  }
}

function numbers(row, rule) {
  for (const cell of row.querySelectorAll("[data-name]")) setText(cell, count(rule[cell.dataset.name]));
}

function tags(row) {
  const shown = row.querySelector(".tags");
  keyed(shown, tagsOf(row.rule), ([text]) => text, ([text, kind]) => element("span", { class: `tag ${kind}` }, text), () => {});
}

// Why a rule never hits again. The counters change between two readings of the rules.
function spent(rule) {
  const total = rule.spec?.when?.limits?.total;
  return rule.spent ?? (typeof total === "number" && rule.hits >= total ? "limits.total is reached" : null);
}

function tagsOf(rule) {
  const tags = [];
  if (spent(rule)) tags.push([spent(rule), "warn"]);
  if (rule.tripped || rule.switch === "tripped") tags.push(["stopped by a guardrail", "bad"]);
  if (rule.problem) tags.push(["not in force", "bad"]);
  if (rule.shadow) tags.push(["shadow", ""]);
  if (rule.layer === "api") tags.push([rule.shadows ? "changed by the API" : "made by the API", "warn"]);
  if (rule.space) tags.push([`space ${rule.space}`, ""]);
  if (typeof rule.ttl_seconds === "number") tags.push([`${seconds(rule.ttl_seconds)} left`, "warn"]);
  return tags;
}

function describe(rule) {
  const faults = (rule.outcomes ?? []).map((outcome) => outcome.faults.join(" + ") || "nothing").join(" or ");
  const problem = typeof rule.problem === "string" ? rule.problem : rule.problem && JSON.stringify(rule.problem);
  const tripped = rule.tripped && `${rule.tripped.guard}: ${rule.tripped.reason}`;
  return [rule.match, faults, tripped, problem].filter(Boolean).join(" · ");
}
