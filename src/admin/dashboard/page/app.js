// The dashboard: reads the state once, follows the event stream, and reads again what an event says has changed.

import { inWords, lookAgain, part, Refused } from "./api.js";
import { Charts } from "./charts.js";
import { byId, message, setText } from "./dom.js";
import { explaining } from "./explain.js";
import { panels, starting } from "./panels.js";
import { Faults, Journal } from "./requests.js";
import { Rules } from "./rules.js";
import { Stop } from "./stop.js";
import { follow } from "./stream.js";

// Reads a part again after events, but leaves at least this time and nine times its own duration between two readings: an API that
// changes hundreds of rules in a second does not keep the page, or squall, busy.
const LEAST_PAUSE_MS = 300;
const PAUSE_FACTOR = 9;

class Reader {
  constructor(read) {
    this.read = read;
    this.timer = null;
    this.next = 0;
  }

  soon() {
    this.timer ??= setTimeout(() => this.now(), Math.max(0, this.next - performance.now()));
  }

  async now() {
    const began = performance.now();
    // Until it has ended: what is asked for meanwhile is read after it.
    this.next = Infinity;
    this.timer = null;
    try {
      await this.read();
    } catch (error) {
      // While squall is gone the bar says so; anything else is news.
      if (error instanceof Refused) message(inWords(error));
    }
    const took = performance.now() - began;
    this.next = performance.now() + Math.max(LEAST_PAUSE_MS, PAUSE_FACTOR * took);
  }
}

const charts = new Charts();
const stop = new Stop();
const rules = new Rules();
const faults = new Faults();
const journal = new Journal();
const { scenarios, guards, upstreams, spaces } = panels();
explaining();
starting(() => readers.scenarios.soon());

async function status() {
  const state = await part("/status");
  if (!state) return;
  setText(byId("version"), state.version);
  const listeners = state.listeners.slice(0, 4).map((one) => `${one.name} ${one.address ?? "not open"} → ${one.upstreams.join(", ")}`);
  setText(byId("summary"), [...listeners, `seed ${state.seed}`].join(" · "));
  const mistake = state.reloads?.last_error ?? "";
  // The text first: it is announced when it appears.
  setText(byId("reload-error"), mistake);
  byId("reload").hidden = !mistake;
}

const readers = {
  status: new Reader(status),
  stop: new Reader(() => stop.read()),
  rules: new Reader(() => rules.read()),
  scenarios: new Reader(() => scenarios.read()),
  guards: new Reader(() => guards.read()),
  spaces: new Reader(() => spaces.read()),
  upstreams: new Reader(() => upstreams.read()),
  journal: new Reader(() => journal.read()),
};

// What each kind of event makes worth reading again.
const AFTER = {
  rule: ["rules"],
  armed: ["stop", "rules"],
  guard: ["guards", "stop", "rules"],
  space: ["spaces", "rules"],
  reload: ["status", "rules", "guards", "upstreams"],
  scenario: ["scenarios", "rules"],
  lost: Object.keys(readers),
  hello: Object.keys(readers),
};

let requests = 0;
let revision = null;

function take(kind, data) {
  if (kind === "stats") {
    charts.add(data);
    rules.count(data.rules ?? []);
    if (typeof data.armed === "boolean" && data.armed !== stop.armed) readers.stop.soon();
    // Not every change has an event of its own: scenarios change rules, and some vanish by themselves.
    if (data.revision !== revision && revision !== null) readers.rules.soon();
    revision = data.revision;
    // The journal only when there is something new in it.
    if ((data.totals?.requests ?? 0) !== requests) readers.journal.soon();
    requests = data.totals?.requests ?? 0;
    for (const name of ["guards", "scenarios", "upstreams"]) if (!byId(`${name}-panel`).hidden) readers[name].soon();
  } else if (kind === "request") {
    faults.add(data);
  }
  if (kind === "hello") lookAgain();
  for (const name of AFTER[kind] ?? []) readers[name].soon();
}

function link(state) {
  const shown = byId("link");
  shown.className = `link ${state}`;
  setText(shown, state === "live" ? "connected" : "disconnected: what is shown is old");
  if (state === "lost") charts.forgetDistribution();
}

follow(take, link);
