// Numbers and times as people read them, and durations as squall's files have them.

export function count(number) {
  if (number === null || number === undefined) return "–";
  return Math.round(number).toLocaleString("en");
}

// Milliseconds with three digits at most: 0.52 ms, 120 ms, 2.5 s.
export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1000) return `${short(value / 1000)} s`;
  return `${short(value)} ms`;
}

export function short(value) {
  if (value >= 100) return String(Math.round(value));
  return String(Number(value.toPrecision(value >= 1 ? 3 : 2)));
}

// Seconds in words that stay short: 45 s, 12 min, 3 h.
export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 90) return `${Math.round(value)} s`;
  if (value < 5400) return `${Math.round(value / 60)} min`;
  return `${short(value / 3600)} h`;
}

// The local time of day, from seconds since 1970 or an RFC 3339 text.
export function timeOfDay(time) {
  const date = typeof time === "number" ? new Date(time * 1000) : new Date(time);
  return Number.isNaN(date.getTime()) ? "–" : date.toLocaleTimeString("en-GB");
}

const UNITS = { us: 0.001, "µs": 0.001, ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000 };

// A duration such as "1.5s" in milliseconds; null if it is not one.
export function parseDuration(text) {
  const found = /^\s*(\d+(?:\.\d+)?)\s*(us|µs|ms|s|m|min|h)\s*$/.exec(String(text));
  return found ? Number(found[1]) * UNITS[found[2]] : null;
}

// Milliseconds as a duration in a file: 120ms, 2.5s.
export function duration(value) {
  if (value >= 1000) return `${Number((value / 1000).toFixed(3))}s`;
  return `${Number(value.toFixed(3))}ms`;
}

// A percentage such as "12.5%" or 12.5; null if it is not one.
export function parsePercentage(text) {
  const found = /^\s*(\d+(?:\.\d+)?)\s*%?\s*$/.exec(String(text));
  const value = found ? Number(found[1]) : NaN;
  return value >= 0 && value <= 100 ? value : null;
}
