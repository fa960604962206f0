// Scenarios, guardrails, upstreams and spaces. A part that this squall does not have stays hidden.

import { call, inWords, part, send } from "./api.js";
import { byId, element, keyed, message, setText } from "./dom.js";
import { count, seconds, short } from "./format.js";

const MOST_ITEMS = 50;

// Reads one part and lists its items: `describe(item)` gives { title, tags, text, progress, buttons: [[text, method, path]] }.
class Panel {
  constructor(name, keyOf, describe, { always = false } = {}) {
    Object.assign(this, { name, keyOf, describe, always });
  }

  async read() {
    const answer = await part(`/${this.name}`);
    // Newest first where there is an order.
    const items = [...(answer?.[this.name] ?? [])];
    if (this.name === "scenarios") items.reverse();
    byId(`${this.name}-panel`).hidden = answer === null || (items.length === 0 && !this.always);
    keyed(byId(this.name), items.slice(0, MOST_ITEMS), this.keyOf, () => this.item(), (made, item) => this.update(made, item));
  }

  item() {
    const title = element("div", {}, element("b"), element("span", { class: "tags" }));
    const made = element("div", { class: "item" }, title, element("div", { class: "buttons" }), element("span", { class: "under" }));
    return made;
  }

  update(made, item) {
    const { title, tags = [], text = "", progress, buttons = [] } = this.describe(item);
    const [head, acts, under] = made.children;
    setText(head.firstChild, title);
    keyed(head.lastChild, tags, ([word, kind]) => word + kind, ([word, kind]) => element("span", { class: `tag ${kind}` }, word), () => {});
    keyed(acts, buttons, ([word]) => word, ([word]) => element("button", { type: "button", "aria-label": `${word}: ${title}` }, word),
      (button, [word, ...what]) => {
        button.onclick = () => this.act(`${word} ${title}`, ...what);
      });
    setText(under, text);
    let bar = made.querySelector("progress");
    if (typeof progress === "number") {
      if (!bar) {
        bar = element("progress", { max: 1, "aria-label": `progress of ${title}` });
        made.append(bar);
      }
      bar.value = progress;
    } else bar?.remove();
  }

  // Calls the API by method and path, or does what a function says.
  async act(what, method, path) {
    try {
      await (typeof method === "function" ? method() : call(path, { method }));
      message();
      await this.read();
    } catch (error) {
      message(`Not done: ${what}: ${inWords(error)}`);
    }
  }
}

const encoded = encodeURIComponent;

export function panels() {
  return {
    scenarios: new Panel("scenarios", (one) => one.id, scenario, { always: true }),
    guards: new Panel("guards", (one) => one.name, guard),
    upstreams: new Panel("upstreams", (one) => one.name, upstream),
    spaces: new Panel("spaces", (one) => one.id, space),
  };
}

function scenario(one) {
  const path = `/scenarios/${encoded(one.id)}`;
  const over = one.state === "done";
  const buttons = over ? [] : [
    one.state === "paused" ? ["Resume", "POST", `${path}/resume`] : ["Pause", "POST", `${path}/pause`],
    ["Abort", "POST", `${path}/abort`],
  ];
  if (over && one.verdict) buttons.push(["Report", () => report(one.id)]);
  const tags = one.verdict ? [[one.verdict, one.verdict === "passed" ? "" : "bad"]] : [[one.state, "warn"]];
  const time = over ? "" : `${seconds(one.at_seconds)} of ${seconds(one.of_seconds)}`;
  const progress = !over && one.of_seconds ? Math.min(one.at_seconds / one.of_seconds, 1) : undefined;
  const text = [time, ...(one.in_force ?? []).slice(0, 5), one.reason].filter(Boolean).join(" · ");
  return { title: `${one.id}. ${one.scenario}`, tags, text, progress, buttons };
}

// Saves the report, a page that needs nothing else. It is not opened here: this page's policy would forbid its styles.
async function report(id) {
  const response = await send(`/scenarios/${encoded(id)}/report?format=html`);
  if (!response.ok) throw new Error(`status ${response.status}`);
  const address = URL.createObjectURL(await response.blob());
  element("a", { href: address, download: `squall-scenario-${id}.html` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// Starts scenarios from a text or a file.
export function starting(started) {
  byId("play-file").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file) byId("play-text").value = await file.text();
  });
  byId("play").addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = byId("play-answer");
    const headers = { "content-type": "application/yaml", accept: "text/plain" };
    try {
      const response = await send("/scenarios?detach=1", { method: "POST", body: byId("play-text").value, headers });
      setText(answer, response.ok ? "It has begun." : (await response.text()).trimEnd());
    } catch (error) {
      setText(answer, inWords(error));
    }
    answer.hidden = false;
    started();
  });
}

function guard(one) {
  const tripped = Boolean(one.tripped);
  const tags = [[tripped ? "tripped" : "watching", tripped ? "bad" : ""]];
  if (one.rule) tags.push([`rule ${one.rule}`, ""]);
  const share = (value) => (value === null || value === undefined ? "–" : `${short(100 * value)}%`);
  const ofTraffic = typeof one.samples === "number";
  const now = ofTraffic ? `${share(one.value)} of ${count(one.samples)} requests, limit ${share(one.limit)}` : `${count(one.value)} of ${count(one.limit)} failures`;
  const again = one.rule ? "switch the rule on to go on" : "allow faults again to go on";
  const why = tripped ? `${one.tripped.reason}, ${seconds(one.tripped.since_seconds)} ago; ${again}` : one.error;
  const buttons = [["Reset", "POST", `/guards/${encoded(one.name)}/reset`]];
  // A guardrail of a rule goes with its rule.
  if (one.layer === "api" && !one.rule) buttons.push(["Remove", "DELETE", `/guards/${encoded(one.name)}`]);
  return { title: one.name, tags, text: [one.kind, now, why].filter(Boolean).join(" · "), buttons };
}

function upstream(one) {
  const sick = one.endpoints.filter((endpoint) => !endpoint.healthy);
  const state = one.kind === "fake" ? ["fake", ""] : sick.length ? [`${sick.length} of ${one.endpoints.length} ejected`, "bad"] : ["healthy", ""];
  const endpoint = (each) => {
    const failures = each.failures ? `, ${count(each.failures)} failures` : "";
    return `${each.address}${each.healthy ? "" : `, ejected for ${seconds(each.back_in_seconds)}`}${failures}`;
  };
  const text = [...one.endpoints.slice(0, 5).map(endpoint), `from ${one.listeners.join(", ") || "no listener"}`];
  return { title: one.name, tags: [state], text: text.join(" · ") };
}

function space(one) {
  const listeners = Object.entries(one.listeners).map(([name, address]) => `${name} at ${address}`);
  const tags = [[`${count(one.rules.length)} rules`, ""]];
  if (typeof one.ttl_seconds === "number") tags.push([`${seconds(one.ttl_seconds)} left`, "warn"]);
  const text = [one.rules.slice(0, 5).join(", "), ...listeners].filter(Boolean).join(" · ");
  return { title: one.id, tags, text, buttons: [["Delete", "DELETE", `/spaces/${encoded(one.id)}`]] };
}
