// The figures and charts: requests, errors and latency, each second from one aggregate of the server's.

import { byId, element, keyed, setText } from "./dom.js";
import { count, milliseconds, short } from "./format.js";

const { uPlot } = window;
const KEPT_SECONDS = 300;
const dark = matchMedia("(prefers-color-scheme: dark)");

const FIGURES = [
  ["requests", "requests/s", (s) => count(s.requests), ""],
  ["natural", "natural errors/s", (s) => count(s.errors_natural), "error"],
  ["injected", "injected errors/s", (s) => count(s.errors_injected), "injected"],
  ["faults", "faults/s", (s) => count(s.faults), "injected"],
  ["held", "held now", (s) => count(s.held), "injected"],
  ["connections", "connections", (s) => count(s.connections), ""],
  ["p50", "median latency", (s) => milliseconds(s.total_ms?.p50), ""],
  ["p99", "p99 latency", (s) => milliseconds(s.total_ms?.p99), ""],
];

const TRAFFIC = [
  { label: "requests", colour: "--quiet", fill: true, of: (s) => s.requests, text: count },
  { label: "natural errors", colour: "--error", of: (s) => s.errors_natural, text: count },
  { label: "injected errors", colour: "--injected", dashed: true, of: (s) => s.errors_injected, text: count },
];

const LATENCY = [
  { label: "natural p50", colour: "--natural", of: (s) => s.natural_ms?.p50, text: milliseconds },
  { label: "natural p99", colour: "--natural", dashed: true, of: (s) => s.natural_ms?.p99, text: milliseconds },
  { label: "injected p50", colour: "--injected", of: (s) => s.injected_ms?.p50, text: milliseconds },
  { label: "injected p99", colour: "--injected", dashed: true, of: (s) => s.injected_ms?.p99, text: milliseconds },
];

const SPREAD = [
  { label: "natural", colour: "--natural" },
  { label: "injected", colour: "--injected" },
];

export class Charts {
  constructor() {
    this.samples = [];
    this.latest = null;
    this.build();
    dark.addEventListener("change", () => this.build());
    new ResizeObserver(() => this.resize()).observe(byId("main"));
    document.addEventListener("visibilitychange", () => this.draw());
  }

  // A second's figures. Seconds without any, such as while squall was gone, stay holes.
  add(stats) {
    const last = this.samples.at(-1);
    if (last && stats.time - last.time > 2.5) this.samples.push({ time: last.time + 1 });
    this.samples.push(stats);
    while (this.samples.length && stats.time - this.samples[0].time > KEPT_SECONDS) this.samples.shift();
    this.latest = stats;
    this.draw();
  }

  // What a squall that has restarted has nothing to do with.
  forgetDistribution() {
    this.latest = null;
  }

  draw() {
    if (!this.latest || document.hidden) return;
    figures(this.latest);
    const times = this.samples.map((sample) => sample.time);
    const lines = (series) => series.map((one) => this.samples.map((sample) => one.of(sample) ?? null));
    this.traffic.setData([times, ...lines(TRAFFIC)]);
    this.latency.setData([times, ...lines(LATENCY)]);
    key("traffic-key", TRAFFIC, this.latest);
    key("latency-key", LATENCY, this.latest);
    this.drawSpread(this.latest.distribution);
  }

  // Shares of each kind, so that few injected ones are seen beside many natural ones. What is out of bounds is in the last bar.
  drawSpread(distribution) {
    if (!distribution) return;
    const kinds = [distribution.natural, distribution.injected].map((counts) => {
      const all = counts.reduce((sum, each) => sum + each, 0);
      return { all, shares: counts.map((each) => (all ? (100 * each) / all : null)) };
    });
    this.bounds = distribution.bounds_ms;
    this.spread.setData([distribution.natural.map((_, at) => at), ...kinds.map((kind) => kind.shares)]);
    keyed(byId("spread-key"), SPREAD.map((one, at) => ({ ...one, all: kinds[at].all })), (one) => one.label, keyItem,
      (item, one) => setText(item.lastChild, `${one.label}: ${count(one.all)} requests`));
  }

  build() {
    for (const chart of [this.traffic, this.latency, this.spread]) chart?.destroy();
    this.traffic = chart("traffic", TRAFFIC, { unit: short, scale: { range: (_, from, to) => [0, Math.max(to ?? 0, 1) * 1.1] } });
    // Logarithmic, since injected times are a thousand times natural ones.
    this.latency = chart("latency", LATENCY, { unit: milliseconds, scale: { distr: 3, range: decades } });
    this.spread = this.bars();
    this.draw();
  }

  bars() {
    const shape = (align) => uPlot.paths.bars({ size: [0.45, 40], align });
    const fills = SPREAD.map((one, at) => ({
      label: one.label,
      paths: shape(at === 0 ? -1 : 1),
      fill: colour(one.colour),
      stroke: colour(one.colour),
      width: 0,
      points: { show: false },
    }));
    const axis = { ...axes(), values: (_, places) => places.map((at) => this.label(at)), size: 30, space: 42, incrs: [1, 5, 10] };
    const y = { ...axes(), size: 46, values: (_, values) => values.map((value) => `${short(value)}%`) };
    const scales = { x: { time: false, range: (_, from, to) => [from - 0.6, to + 0.6] }, y: { range: (_, from, to) => [0, Math.max(to ?? 0, 10) * 1.05] } };
    const options = { ...frame("spread"), scales, axes: [axis, y], series: [{}, ...fills] };
    return new uPlot(options, [[0], [null], [null]], byId("spread"));
  }

  // The upper bound of a bar.
  label(at) {
    const bound = this.bounds?.[at];
    return bound === undefined ? "" : milliseconds(bound);
  }

  resize() {
    for (const [id, chart] of [["traffic", this.traffic], ["latency", this.latency], ["spread", this.spread]]) {
      const { width, height } = frame(id);
      if (chart.width !== width) chart.setSize({ width, height });
    }
  }
}

function figures(stats) {
  keyed(byId("figures"), FIGURES, ([id]) => id,
    ([, name]) => element("div", {}, element("dt", {}, name), element("dd")),
    (row, [, , text, kind]) => {
      setText(row.lastChild, text(stats));
      row.lastChild.className = row.lastChild.textContent === "0" ? "" : kind;
    });
}

function key(id, series, stats) {
  keyed(byId(id), series, (one) => one.label, keyItem,
    (item, one) => setText(item.lastChild, `${one.label}: ${one.text(one.of(stats))}`));
}

function keyItem(one) {
  const item = element("li", { class: one.dashed && !one.fill ? "dashed" : null }, element("span"));
  item.style.color = `var(${one.colour})`;
  return item;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function frame(id) {
  const box = byId(id);
  return { width: Math.max(box.clientWidth, 200), height: 180, legend: { show: false }, cursor: { show: false } };
}

function axes() {
  const line = { stroke: colour("--line"), width: 1 };
  return { stroke: colour("--quiet"), font: "11px system-ui, sans-serif", grid: line, ticks: { ...line, size: 4 } };
}

// Bounds of a logarithmic scale: powers of ten around what there is.
function decades(_, from, to) {
  const power = (value, round) => 10 ** round(Math.log10(value));
  const low = power(Math.max(from ?? 1, 0.01), Math.floor);
  return [low, Math.max(power(Math.max(to ?? 1, 0.01), Math.ceil), low * 10)];
}

function isPower(value) {
  return Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-6;
}

function chart(id, series, { unit, scale }) {
  const lines = series.map((one) => ({
    label: one.label,
    stroke: colour(one.colour),
    fill: one.fill ? `${colour("--quiet")}22` : undefined,
    dash: one.dashed ? [5, 4] : undefined,
    width: 1.5,
    points: { show: false },
  }));
  const hours = { ...axes(), size: 30, space: 70, values: (_, times) => times.map((time) => clock(time)) };
  // On a logarithmic scale, lines and numbers at powers of ten only.
  const kept = (_, places) => places.map((place) => (scale.distr !== 3 || isPower(place) ? place : null));
  const plain = axes();
  const y = {
    ...plain, size: 56, filter: kept, grid: { ...plain.grid, filter: kept }, ticks: { ...plain.ticks, filter: kept },
    values: (_, values) => values.map((value) => (value === null ? null : unit(value))),
  };
  const now = () => Date.now() / 1000;
  const scales = {
    x: { range: (_, from, to) => [Math.max(from ?? now(), (to ?? now()) - KEPT_SECONDS), Math.max(to ?? now(), (from ?? now()) + 60)] },
    y: scale,
  };
  const options = { ...frame(id), scales, axes: [hours, y], series: [{}, ...lines] };
  return new uPlot(options, [[], ...series.map(() => [])], byId(id));
}

function clock(time) {
  return new Date(time * 1000).toLocaleTimeString("en-GB");
}
