// A slider with its value as text, either of which changes the other. It saves a moment after the last change, and one at a time.

import { element } from "./dom.js";

const QUIET_MS = 250;
const STEPS = 200;

export class Slide {
  // `from` and `to` bound the value, `logarithmic` or in steps of `step`; `parse` and `text` turn it from and into what is typed;
  // `save(value)` returns a promise.
  constructor({ label, from, to, step, logarithmic = false, parse, text, help, save }) {
    Object.assign(this, { from, to, logarithmic, parse, text, save });
    const scale = logarithmic ? { min: 0, max: STEPS, step: 1 } : { min: from, max: to, step };
    this.range = element("input", { type: "range", ...scale, "aria-label": label, oninput: () => this.slid(), onchange: () => this.flush() });
    this.typed = element("input", { type: "text", inputmode: "decimal", autocomplete: "off", spellcheck: "false",
      "aria-label": `${label}, as text: ${help}`, onchange: () => this.wasTyped() });
    this.element = element("div", { class: "slide" }, this.range, this.typed);
    this.wanted = null;
    this.saving = false;
  }

  // Shows the value that the server has, unless the user is changing it. Null if there is none to change.
  show(value) {
    this.element.hidden = value === null;
    if (value === null || this.wanted !== null || this.saving) return value !== null;
    this.value = value;
    if (document.activeElement !== this.typed) this.write(value);
    this.place(value);
    return true;
  }

  write(value) {
    this.typed.value = this.text(value);
    this.typed.removeAttribute("aria-invalid");
  }

  place(value) {
    const at = this.logarithmic ? String(Math.round(this.toStep(value))) : String(value);
    if (this.range.value !== at) this.range.value = at;
    this.range.setAttribute("aria-valuetext", this.text(value));
  }

  toStep(value) {
    const within = Math.min(Math.max(value, this.from), this.to);
    return (STEPS * Math.log(within / this.from)) / Math.log(this.to / this.from);
  }

  fromStep(step) {
    const value = this.from * (this.to / this.from) ** (step / STEPS);
    return Number(value.toPrecision(2));
  }

  slid() {
    const value = this.logarithmic ? this.fromStep(Number(this.range.value)) : Number(this.range.value);
    this.write(value);
    this.range.setAttribute("aria-valuetext", this.text(value));
    this.want(value);
  }

  wasTyped() {
    const value = this.parse(this.typed.value);
    if (value === null) {
      this.typed.setAttribute("aria-invalid", "true");
      return;
    }
    this.write(value);
    this.place(value);
    this.want(value);
    this.flush();
  }

  want(value) {
    this.wanted = value;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), QUIET_MS);
  }

  // Saves what is wanted now. What is wanted meanwhile is saved after that, so that answers don't overtake each other.
  async flush() {
    clearTimeout(this.timer);
    if (this.saving || this.wanted === null) return;
    const value = this.wanted;
    this.wanted = null;
    this.saving = true;
    this.element.classList.add("pending");
    try {
      await this.save(value);
      this.value = value;
    } catch {
      // The page has said why. Back to what is in force, unless the user goes on.
      if (this.wanted === null) {
        this.write(this.value);
        this.place(this.value);
      }
    } finally {
      this.saving = false;
      this.element.classList.remove("pending");
    }
    if (this.wanted !== null) await this.flush();
  }
}
