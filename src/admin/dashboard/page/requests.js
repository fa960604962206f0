// The last faults, from events, and recent requests with the rules that almost matched them, from the journal.

import { call, inWords, part } from "./api.js";
import { byId, element, keyed, prepend, setText } from "./dom.js";
import { count, milliseconds, timeOfDay } from "./format.js";

const MOST_FAULTS = 50;
const MOST_REQUESTS = 50;

export class Faults {
  constructor() {
    this.body = document.querySelector("#faults tbody");
    this.shown = 0;
    this.leftOut = 0;
    this.waiting = [];
  }

  // Rows are put in once a frame, however many come.
  add(request) {
    this.shown += 1;
    this.leftOut += request.left_out ?? 0;
    this.waiting.push(request);
    if (this.waiting.length > MOST_FAULTS) this.waiting.shift();
    if (this.waiting.length === 1) requestAnimationFrame(() => this.draw());
  }

  draw() {
    for (const request of this.waiting) prepend(this.body, row(request), MOST_FAULTS);
    this.waiting = [];
    setText(byId("faults-count"), `last ${MOST_FAULTS} of ${count(this.shown + this.leftOut)}`);
    setText(byId("faults-note"), this.leftOut ? `${count(this.leftOut)} more are not listed: at most 50 a second are.` : "");
  }
}

function row(request) {
  const faults = (request.faults ?? []).map(({ rule, fault }) => element("div", {}, element("b", {}, fault), ` ${rule}`));
  return element("tr", {},
    element("td", {}, timeOfDay(request.time)),
    element("td", { class: "path" }, ...breakable(target(request)), request.space ? element("span", { class: "tag" }, `space ${request.space}`) : null),
    element("td", { class: `number ${request.status >= 500 || !request.status ? "error" : ""}` }, status(request)),
    element("td", { class: "faults" }, ...faults),
    element("td", { class: "number" }, milliseconds(request.injected_ms)));
}

function target(request) {
  return `${request.method ?? request.kind ?? ""} ${request.path ?? request.host ?? ""}`;
}

// A text that may be broken behind each slash.
function breakable(text) {
  return text.split(/(?<=\/)/).flatMap((piece) => [element("wbr"), piece]);
}

function status(request) {
  if (request.client_gone) return "client gone";
  return request.status ? String(request.status) : "none";
}

export class Journal {
  constructor() {
    this.body = document.querySelector("#journal tbody");
    this.open = null;
    for (const id of ["journal-hit", "journal-path"]) byId(id).addEventListener("change", () => this.read());
  }

  // The newest requests. Reads again only what a page can show, so it costs the same under any load.
  async read() {
    const query = new URLSearchParams({ limit: MOST_REQUESTS });
    if (byId("journal-hit").checked) query.set("hit", "true");
    const path = byId("journal-path").value.trim();
    if (path) query.set("path", path);
    let answer = null;
    try {
      answer = await part(`/journal?${query}`);
    } catch (error) {
      setText(byId("journal-note"), `Not read: ${inWords(error)}`);
      return;
    }
    byId("journal-panel").hidden = answer === null || answer.enabled === false;
    if (answer === null) return;
    const requests = [...answer.requests].reverse();
    keyed(this.body, requests, (one) => one.id, (one) => this.row(one), () => {});
    const dropped = answer.dropped ? `${count(answer.dropped)} older ones were dropped.` : "";
    setText(byId("journal-note"), requests.length ? dropped : "No request, or none with that path.");
  }

  row(one) {
    const faults = (one.draws ?? []).map(({ rule, fault }) => element("div", {}, element("b", {}, fault), ` ${rule}`));
    // Not the guess that goes by the client's address alone.
    const attempt = one.attempt > 1 && one.attempt_by !== "client" ? element("span", { class: "tag" }, `attempt ${one.attempt}`) : null;
    return element("tr", {},
      element("td", {}, timeOfDay(one.time)),
      element("td", { class: "path" }, ...breakable(target(one)), attempt, one.space ? element("span", { class: "tag" }, `space ${one.space}`) : null),
      element("td", { class: `number ${one.status >= 500 ? "error" : ""}` }, status(one)),
      element("td", { class: "faults" }, ...faults),
      element("td", { class: "number" }, milliseconds(one.total_ms)),
      element("td", {}, element("button", { type: "button", "aria-expanded": "false", "aria-controls": "journal-details",
        "aria-label": `Why? request ${one.id}, ${target(one)}`, onclick: (event) => this.why(one.id, event.currentTarget) }, "Why?")));
  }

  // Shows what a rule would have needed to match, below the table; hides it again.
  async why(id, button) {
    for (const other of this.body.querySelectorAll("[aria-expanded=true]")) other.setAttribute("aria-expanded", "false");
    const details = byId("journal-details");
    if (this.open === id) {
      this.open = null;
      details.hidden = true;
      return;
    }
    this.open = id;
    button.setAttribute("aria-expanded", "true");
    details.hidden = false;
    try {
      details.replaceChildren(...explained(await call(`/journal/${id}`)));
    } catch (error) {
      details.replaceChildren(inWords(error));
    }
  }
}

// What tells that two requests are attempts of the same one.
const BY = { client: "client, method and path" };

function explained(one) {
  const parts = [element("p", {}, element("b", {}, target(one)), ` at ${timeOfDay(one.time)}`)];
  const times = [["total", one.total_ms], ["upstream", one.upstream_ms], ["injected", one.injected_ms]];
  const told = times.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => `${name} ${milliseconds(value)}`);
  parts.push(element("p", {}, [`status ${status(one)}`, ...told, one.error].filter(Boolean).join(" · ")));
  if (one.attempt > 1) {
    const gap = `${milliseconds(one.gap_ms)} after the one before`;
    parts.push(element("p", {}, `Attempt ${one.attempt} of the same request, told by ${BY[one.attempt_by] ?? one.attempt_by}, ${gap}.`));
  }
  if (one.draws?.length) parts.push(element("p", {}, `Injected: ${one.draws.map(({ rule, fault }) => `${fault} by ${rule}`).join(", ")}`));
  parts.push(list("Hit, but not applied:", (one.skipped ?? []).map((skip) => `${skip.fault} by ${skip.rule}: ${skip.reason}`)));
  parts.push(list("Matched, but not hit:", (one.missed ?? []).map((miss) => `${miss.rule}: ${miss.reason}`)));
  parts.push(list("Rules that almost matched:", (one.near_misses ?? []).map((miss) => `${miss.rule}: ${miss.failed.join("; ")}`)));
  return parts.filter(Boolean);
}

function list(title, lines) {
  if (!lines.length) return null;
  return element("div", {}, element("p", {}, title), element("ul", {}, ...lines.map((line) => element("li", {}, line))));
}
