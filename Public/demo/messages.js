// The list of messages: what is stored, by id, and after it what is still on its way.

import { clock, dayInWords, element } from "./view.js";

const NAMES = { user: "Visitor", assistant: "Assistant", manager: "Operator", system: "" };

const STATES = {
  sending: "Sending…",
  sent: "Sent",
  retrying: "Not sent yet.",
  paused: "Not sent yet.",
  failed: "Not sent.",
};

/**
 * Draws messages so that each is there once, whichever way and however often it comes: from history, from the stream,
 * or from a POST of one's own, whose bubble the stored message takes over.
 */
export class MessageList {
  #list;
  #mine;
  #onRetry;
  #onDiscard;
  /** Stored messages in order: `{id, message, node}`. */
  #rows = [];
  /** Bubbles still on their way, by `client_message_id`. */
  #pending = new Map();

  /**
   * @param {HTMLOListElement} list
   * @param {{mine: "user"|"manager", onRetry: (key: string) => void, onDiscard: (key: string) => void}} settings
   *   `mine` is the sender whose messages stand on the writer's side
   */
  constructor(list, { mine, onRetry, onDiscard }) {
    this.#list = list;
    this.#mine = mine;
    this.#onRetry = onRetry;
    this.#onDiscard = onDiscard;
  }

  get isEmpty() {
    return this.#rows.length === 0 && this.#pending.size === 0;
  }

  /** The lowest stored id, where an earlier page ends; null while there is none. */
  get oldestID() {
    return this.#rows[0]?.id ?? null;
  }

  clear() {
    this.#rows = [];
    this.#pending.clear();
    this.#list.replaceChildren();
  }

  /** Puts a stored message in its place. @returns {boolean} whether it was not there before */
  put(message) {
    const known = this.#rows.findLastIndex((row) => row.id === message.id);
    if (known >= 0) {
      this.#rows[known].message = message;
      this.#fill(this.#rows[known]);
      this.#join(known);
      this.#join(known + 1);
      return false;
    }
    // Only one's own key: the other side sees these keys too, and could send one back.
    const key = message.sender === this.#mine ? message.client_message_id : undefined;
    const node = this.#pending.get(key) ?? element("li");
    this.#pending.delete(key);

    const row = { id: message.id, message, node };
    let index = this.#rows.length;
    while (index > 0 && this.#rows[index - 1].id > message.id) index -= 1;
    const after = this.#rows[index]?.node ?? this.#pending.values().next().value ?? null;
    this.#rows.splice(index, 0, row);
    // A bubble that is already in its place is not moved, so that it does not flicker.
    if (node.parentNode !== this.#list || (node.nextSibling ?? null) !== after) this.#list.insertBefore(node, after);
    this.#fill(row);
    this.#join(index);
    this.#join(index + 1);
    return true;
  }

  /** Shows a message that is on its way. @param {import("./outbox.js").Item} item */
  putPending(item) {
    let node = this.#pending.get(item.key);
    if (!node) {
      node = element("li");
      this.#pending.set(item.key, node);
      this.#list.append(node);
    }
    node.className = `message mine pending ${item.state}`;
    const state = element("p", "meta");
    state.append(element("span", "state", [STATES[item.state], item.detail].filter(Boolean).join(" ")));
    if (item.state === "failed" || item.state === "retrying") {
      state.append(this.#button("Try now", () => this.#onRetry(item.key)));
    }
    if (item.state === "failed") state.append(this.#button("Discard", () => this.#onDiscard(item.key)));
    node.replaceChildren(bubble(item.text), state);
  }

  removePending(key) {
    this.#pending.get(key)?.remove();
    this.#pending.delete(key);
  }

  /** Who speaks in a message, for people. */
  nameOf(message) {
    return message.author?.name || NAMES[message.sender] || "";
  }

  #fill({ message, node }) {
    const isMine = message.sender === this.#mine;
    node.className = `message ${message.sender} ${isMine ? "mine" : "theirs"}`;
    const meta = element("p", "meta");
    meta.append(clock(message.timestamp));
    if (isMine) {
      const tick = element("span", "tick", "✓");
      tick.setAttribute("aria-hidden", "true");
      meta.append(" ", tick, element("span", "visually-hidden", "delivered"));
    }
    const speaker = element("p", "speaker", this.nameOf(message));
    speaker.dir = "auto";
    node.replaceChildren(element("p", "day"), speaker, bubble(message.text), meta);
  }

  /** What a row shows depends on the one before it: the day once, the speaker and the minute once in a row. */
  #join(index) {
    const row = this.#rows[index];
    if (!row) return;
    const before = this.#rows[index - 1];
    const day = dayInWords(row.message.timestamp);
    const isNewDay = !before || dayInWords(before.message.timestamp) !== day;
    const follows = !isNewDay && before.message.sender === row.message.sender &&
      this.nameOf(before.message) === this.nameOf(row.message);
    const label = row.node.querySelector(".day");
    label.textContent = day;
    label.hidden = !isNewDay;
    row.node.querySelector(".speaker").hidden = follows || row.message.sender === this.#mine;
    row.node.classList.toggle("follows", follows);
    if (before) {
      const time = (row) => row.node.querySelector("time").textContent;
      before.node.querySelector(".meta").hidden = follows && time(before) === time(row);
    }
  }

  #button(text, action) {
    const button = element("button", "link", text);
    button.type = "button";
    button.addEventListener("click", action);
    return button;
  }
}

function bubble(text) {
  const node = element("p", "bubble", text);
  // Each paragraph by its own first strong letter, whatever the page's direction.
  node.dir = "auto";
  return node;
}
