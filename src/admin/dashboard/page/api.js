// Calls of squall's API, with the token that the user has typed.

import { byId, setText } from "./dom.js";

const KEY = "squall-token";
const PATIENCE_MS = 10_000;

// What the API answered instead of what was wanted.
export class Refused extends Error {
  constructor(status, problem) {
    const errors = Array.isArray(problem?.errors) ? problem.errors.map((one) => one.message) : [];
    super(errors.length ? errors.slice(0, 3).join("; ") : problem?.detail || `status ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

function authorization() {
  const token = sessionStorage.getItem(KEY);
  return token ? { authorization: `Bearer ${token}` } : {};
}

// Sends a request, and asks for the token when one is needed. Resolves to the response.
export async function send(path, { method = "GET", headers = {}, body, signal } = {}) {
  for (;;) {
    const used = sessionStorage.getItem(KEY);
    const response = await fetch(`/api/v1${path}`, {
      method,
      body,
      signal,
      headers: { accept: "application/json", ...headers, ...authorization() },
      cache: "no-store",
      credentials: "omit",
    });
    if (response.status !== 401) return response;
    await askForToken(used);
  }
}

// Calls the API, and resolves to the JSON of its answer. Throws `Refused`, or a TypeError while there is no connection.
export async function call(path, { method = "GET", json, headers = {} } = {}) {
  const body = json === undefined ? undefined : JSON.stringify(json);
  const type = body === undefined ? {} : { "content-type": "application/json" };
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const response = await send(path, { method, body, signal, headers: { ...type, ...headers } });
  const text = await response.text();
  let answer = null;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    answer = { detail: text };
  }
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

const missing = new Set();

// What a part of the API has; null if this squall does not have that part, which is not asked for again.
export async function part(path) {
  const [name] = path.split("?");
  if (missing.has(name)) return null;
  try {
    return await call(path);
  } catch (error) {
    if (!(error instanceof Refused && error.status === 404)) throw error;
    missing.add(name);
    return null;
  }
}

// Forgets which parts are missing: another squall may be there now.
export function lookAgain() {
  missing.clear();
}

// An error as one line for the user.
export function inWords(error) {
  if (error instanceof Refused) return error.message;
  if (error?.name === "TimeoutError") return `squall did not respond within ${PATIENCE_MS / 1000} s`;
  return "squall can't be reached";
}

let asking = null;

// Asks for a token once, however many calls need it. `used` is the one that was refused, if any.
function askForToken(used) {
  if (used !== sessionStorage.getItem(KEY)) return Promise.resolve();
  sessionStorage.removeItem(KEY);
  setText(byId("token-note"), used ? "That token was refused." : "");
  asking ??= new Promise((resolve) => {
    const dialog = byId("token-dialog");
    const form = byId("token-form");
    const cancelled = (event) => event.preventDefault();
    const given = () => {
      sessionStorage.setItem(KEY, byId("token").value.trim());
      byId("token").value = "";
      dialog.removeEventListener("cancel", cancelled);
      asking = null;
      resolve();
    };
    form.addEventListener("submit", given, { once: true });
    dialog.addEventListener("cancel", cancelled);
    if (!dialog.open) dialog.showModal();
  });
  return asking;
}
