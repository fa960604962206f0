// The switch that stops all faults, by one click or by pressing Esc twice.

import { call, inWords, part } from "./api.js";
import { byId, message, setText } from "./dom.js";
import { seconds } from "./format.js";

// The longest time between the two keys.
const BETWEEN_MS = 1_500;
// How long after a stop the same button does nothing.
const DOUBLE_MS = 500;

export class Stop {
  constructor() {
    // Assumed until squall has said it: a stop must not wait for that.
    this.armed = true;
    this.missing = false;
    this.escaped = -Infinity;
    this.stopped = -Infinity;
    byId("stop").addEventListener("click", () => {
      // The second click of a double one, or a second Enter, would undo the first.
      const again = !this.armed && performance.now() - this.stopped < DOUBLE_MS;
      if (!again) this.set(!this.armed);
    });
    // First of all, so that nothing on the page can keep it from happening.
    window.addEventListener("keydown", (event) => this.key(event), { capture: true });
  }

  key(event) {
    if (event.key !== "Escape" || event.repeat) {
      if (event.key !== "Escape") this.escaped = -Infinity;
      return;
    }
    const twice = event.timeStamp - this.escaped < BETWEEN_MS;
    this.escaped = twice ? -Infinity : event.timeStamp;
    // It only stops: keys that were pressed by mistake must not start anything.
    if (twice && !this.missing) this.set(false, "Esc was pressed twice on the dashboard");
  }

  async set(armed, reason = "stopped on the dashboard") {
    const button = byId("stop");
    const focused = document.activeElement === button;
    button.disabled = true;
    try {
      await call("/armed", { method: "PUT", json: armed ? { armed } : { armed, reason } });
      message();
      await this.read();
    } catch (error) {
      message(`${armed ? "Faults are still stopped" : "NOT STOPPED: faults may go on"}: ${inWords(error)}`);
    } finally {
      button.disabled = false;
      // Only if it had it: keys must not come upon it by themselves.
      if (focused) button.focus();
    }
  }

  // Reads the state. A squall without the switch shows none.
  async read() {
    const state = await part("/armed");
    this.missing = state === null;
    byId("stop-area").hidden = this.missing;
    if (state !== null) this.show(state.armed, state);
  }

  show(armed, { reason, since_seconds: since } = {}) {
    if (this.armed && !armed) this.stopped = performance.now();
    this.armed = armed;
    document.body.classList.toggle("stopped", !armed);
    setText(byId("stop"), armed ? "Stop all faults" : "Allow faults again");
    const why = [reason, since === undefined ? null : `${seconds(since)} ago`].filter(Boolean).join(", ");
    setText(byId("armed"), armed ? "" : `Stopped: nothing is injected${why ? ` (${why})` : ""}`);
  }
}
