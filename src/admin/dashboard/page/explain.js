// The box that says what would happen to a request.

import { inWords, send } from "./api.js";
import { byId, setText } from "./dom.js";

export function explaining() {
  byId("explain").addEventListener("submit", async (event) => {
    event.preventDefault();
    const typed = byId("explain-curl").value.trim();
    const answer = byId("explain-answer");
    answer.hidden = false;
    if (!typed) {
      setText(answer, "Paste a curl line or a URL.");
      return;
    }
    try {
      setText(answer, await explained(typed));
    } catch (error) {
      setText(answer, inWords(error));
    }
    answer.scrollIntoView({ block: "nearest" });
  });
}

async function explained(typed) {
  const isCommand = /^curl\s/.test(typed);
  const json = isCommand ? { curl: typed } : { url: typed };
  const headers = { "content-type": "application/json", accept: "text/plain" };
  const response = await send("/explain", { method: "POST", body: JSON.stringify(json), headers });
  return (await response.text()).trimEnd();
}
