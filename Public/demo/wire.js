// The strip at the bottom: what goes over the wire, for developers.

import { observeCalls } from "./api.js";
import { element } from "./view.js";

/** How many lines are kept. */
const KEPT = 200;

/** How much of a frame's data is shown, in UTF-16 units. */
const SHOWN = 600;

/** Shows each stream's cursor, head and last heartbeat, and on demand the frames and calls themselves. */
export class Wire {
  #root;
  #log;
  #beats = new Map();

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
    this.#log = root.querySelector(".wire-log");
    const toggle = root.querySelector(".wire-toggle");
    toggle.addEventListener("click", () => {
      const isOpen = this.#log.hidden;
      this.#log.hidden = !isOpen;
      toggle.setAttribute("aria-expanded", String(isOpen));
      if (isOpen) this.#log.scrollTop = this.#log.scrollHeight;
    });
    observeCalls((exchange) => this.#takeCall(exchange));
    setInterval(() => this.#showBeats(), 1000);
  }

  /**
   * A frame of a stream, as it came.
   * @param {"visitor"|"operator"} side
   * @param {{name: string, id: string, text: string, cursor: string}} frame
   */
  take(side, frame) {
    const gauge = this.#root.querySelector(`[data-stream="${side}"]`);
    gauge.querySelector("[data-cursor]").textContent = frame.cursor ?? "–";
    if (frame.name === "hb") {
      const head = /"head":\s*"([\d-]+)"/.exec(frame.text)?.[1];
      if (head) gauge.querySelector("[data-head]").textContent = head;
      this.#beats.set(side, Date.now());
      this.#showBeats();
      gauge.classList.remove("beat");
      // Reading a size makes the browser see the class gone, so that the animation begins again.
      void gauge.offsetWidth;
      gauge.classList.add("beat");
    } else if (frame.name === "message" && frame.id) {
      gauge.querySelector("[data-head]").textContent = frame.id;
    }
    // The default event name stands for nothing on the wire, so nothing is shown for it but its type.
    const name = frame.name === "message" ? (/"type":\s*"([^"]{1,40})"/.exec(frame.text)?.[1] ?? "message") : frame.name;
    this.#add(side, name, frame.id || "–", frame.text, frame.name === "message" ? "" : frame.name);
  }

  #takeCall({ method, path, status, replayed, milliseconds }) {
    const side = /\/api\/site\//.test(path) ? "visitor" : "operator";
    const outcome = status === 0 ? "no answer" : String(status);
    const text = `${path}  ${outcome}${replayed ? "  replayed" : ""}  ${Math.round(milliseconds)} ms`;
    this.#add(side, method, "", text, status >= 200 && status < 400 ? "call" : "call bad");
  }

  #add(side, name, id, text, kind) {
    const isAtEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 24;
    const line = element("li", `${side} ${kind}`);
    const now = new Date();
    const time = now.toTimeString().slice(0, 8) + "." + String(now.getMilliseconds()).padStart(3, "0");
    line.append(
      element("span", "wire-time", time), element("span", "wire-side", side),
      element("span", "wire-name", name), element("span", "wire-id", id),
      element("span", "wire-text", text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text));
    const list = this.#log.querySelector("ol");
    list.append(line);
    while (list.childElementCount > KEPT) list.firstElementChild.remove();
    if (isAtEnd) this.#log.scrollTop = this.#log.scrollHeight;
  }

  #showBeats() {
    for (const [side, at] of this.#beats) {
      const seconds = Math.round((Date.now() - at) / 1000);
      this.#root.querySelector(`[data-stream="${side}"] [data-hb]`).textContent =
        seconds < 1 ? "now" : `${seconds} s ago`;
    }
  }
}
