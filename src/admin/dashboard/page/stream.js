// The event stream, read with fetch since EventSource can't send a token. Comes back by itself when squall does.

import { send } from "./api.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5_000;
// squall sends a comment every 15 s.
const SILENCE_MS = 40_000;

// Splits a text into events as it arrives: lines may end anywhere between two parts.
export class Parser {
  constructor(take) {
    this.take = take;
    this.rest = "";
    this.kind = "";
    this.data = [];
  }

  push(text) {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop();
    for (const line of lines) this.line(line.replace(/\r$/, ""));
  }

  line(line) {
    if (line === "") {
      if (this.data.length) this.take(this.kind || "message", this.data.join("\n"));
      this.kind = "";
      this.data = [];
      return;
    }
    const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (name === "event") this.kind = value;
    else if (name === "data") this.data.push(value);
  }
}

// Reads events for as long as the page is open. `take(kind, data)` gets each, `state` "live" or "lost".
export async function follow(take, state) {
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    try {
      await once(take, () => {
        pause = FIRST_PAUSE_MS;
        state("live");
      });
    } catch {
      // Whatever it was, the stream is over.
    }
    state("lost");
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }
}

async function once(take, live) {
  const controller = new AbortController();
  let alarm = setTimeout(() => controller.abort(), SILENCE_MS);
  try {
    const response = await send("/events", { headers: { accept: "text/event-stream" }, signal: controller.signal });
    if (!response.ok) throw new Error(`status ${response.status}`);
    live();
    const parser = new Parser((kind, data) => take(kind, JSON.parse(data)));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(alarm);
      alarm = setTimeout(() => controller.abort(), SILENCE_MS);
      parser.push(value);
    }
  } finally {
    clearTimeout(alarm);
  }
}
