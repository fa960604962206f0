// Scenarios, guardrails, upstreams and spaces. A part that this squall does not have stays hidden.

import { call, inWords, part } from "./api.js";
import { byId, element, keyed, message, setText } from "./dom.js";
import { count, seconds } from "./format.js";

const MOST_ITEMS = 50;

// Reads one part and lists its items: `describe(item)` gives { title, tags, text, progress, buttons: [text, method, path, json] }.
class Panel {
  constructor(name, keyOf, describe) {
    Object.assign(this, { name, keyOf, describe });
  }

  async read() {
    const answer = await part(`/${this.name}`);
    const items = answer?.[this.name] ?? [];
    byId(`${this.name}-panel`).hidden = answer === null || items.length === 0;
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
      (button, [word, method, path, json]) => {
        button.onclick = () => this.act(`${word} ${title}`, method, path, json);
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

  async act(what, method, path, json) {
    try {
      await call(path, { method, json });
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
    scenarios: new Panel("scenarios", (one) => one.id, scenario),
    guards: new Panel("guards", (one) => one.name, guard),
    upstreams: new Panel("upstreams", (one) => one.name, upstream),
    spaces: new Panel("spaces", (one) => one.id, space),
  };
}

function scenario(one) {
  const path = `/scenarios/${encoded(one.id)}`;
  const over = ["done", "passed", "failed", "aborted", "inconclusive"].includes(one.state);
  const buttons = over ? [] : [
    one.state === "paused" ? ["Resume", "POST", `${path}/resume`] : ["Pause", "POST", `${path}/pause`],
    ["Abort", "POST", `${path}/abort`],
  ];
  const good = one.verdict === "passed";
  const tags = [[one.state, over ? "" : "warn"]];
  if (one.verdict) tags.push([one.verdict, good ? "" : "bad"]);
  const { elapsed_seconds: elapsed, duration_seconds: duration } = one;
  const time = duration ? `${seconds(elapsed)} of ${seconds(duration)}` : "";
  const progress = !over && duration ? Math.min(elapsed / duration, 1) : undefined;
  return { title: one.name ?? one.scenario ?? one.id, tags, text: [time, one.step, one.reason].filter(Boolean).join(" · "), progress, buttons };
}

function guard(one) {
  const tripped = Boolean(one.tripped);
  const tags = [[tripped ? "tripped" : "watching", tripped ? "bad" : ""]];
  if (one.rule) tags.push([`rule ${one.rule}`, ""]);
  const value = one.value === undefined || one.value === null ? null : `now ${one.value}`;
  const limit = one.limit === undefined || one.limit === null ? null : `limit ${one.limit}`;
  const why = tripped && typeof one.tripped === "object" ? one.tripped.reason : null;
  const samples = one.samples ? `${count(one.samples)} samples` : null;
  const buttons = tripped ? [["Reset", "POST", `/guards/${encoded(one.name)}/reset`]] : [];
  return { title: one.name, tags, text: [one.kind, value, limit, samples, why].filter(Boolean).join(" · "), buttons };
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
