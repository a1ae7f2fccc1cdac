// Messages on their way out: each is posted until it is answered, under one name, so that it is one message.

import { ApiError, backoff, pause } from "./api.js";
import { uuid } from "./identity.js";

/**
 * One message that is not yet part of the conversation.
 * @typedef {object} Item
 * @property {string} key its `client_message_id`; every try carries the same
 * @property {string} text
 * @property {number} dialogID
 * @property {number} at when it was written, milliseconds since 1970
 * @property {"sending"|"retrying"|"paused"|"sent"|"failed"} state
 * @property {string} detail why it is not sent, for people; empty otherwise
 */

/**
 * Sends messages one after the other, in the order in which they were written.
 * A transient failure is retried with the same key, so that a lost answer never doubles a message; a refusal stays
 * with its reason until the writer tries again or discards it.
 */
export class Outbox {
  #post;
  #onChange;
  #storageKey;
  /** @type {Item[]} */
  #items = [];
  #isRunning = false;
  #isPaused = false;
  #wake = null;

  /**
   * @param {object} settings
   * @param {(item: Item) => Promise<void>} settings.post rejects with an ApiError; may change the item's `dialogID`
   * @param {(item: Item) => void} settings.onChange
   * @param {string} [settings.storageKey] where unsent messages outlive a reload of this tab; nowhere if absent
   */
  constructor({ post, onChange, storageKey }) {
    this.#post = post;
    this.#onChange = onChange;
    this.#storageKey = storageKey;
  }

  /** Takes up what a reload interrupted. Posting again what had come through is answered with the stored message. */
  restore() {
    try {
      for (const { key, text, dialogID, at } of JSON.parse(sessionStorage.getItem(this.#storageKey) ?? "[]")) {
        this.#append({ key, text, dialogID, at, state: "sending", detail: "" });
      }
    } catch {
      // Storage that is closed to us, or holds something else: there is nothing to take up.
    }
  }

  /** Everything not yet confirmed, oldest first. */
  get items() {
    return [...this.#items];
  }

  /** @param {string} text @param {number} dialogID */
  add(text, dialogID) {
    this.#append({ key: uuid(), text, dialogID, at: Date.now(), state: "sending", detail: "" });
  }

  /** The message has been seen in the conversation itself, whatever became of the answer to the POST. */
  confirm(key) {
    this.#drop(key);
  }

  /** Gives up a refused message. */
  discard(key) {
    this.#drop(key);
  }

  /** Tries at once what was refused or waits for its next try. */
  retry(key) {
    const item = this.#items.find((item) => item.key === key);
    if (item?.state === "failed") this.#set(item, "sending");
    this.resume();
  }

  /** Goes on after a 401 has paused everything, with the credential that is there now. */
  resume() {
    this.#isPaused = false;
    this.#wake?.abort(new Error("woken"));
    this.#run();
  }

  /** Forgets everything unsent; what is stored for after a reload stays, unless `erasing`. */
  close({ erasing = false } = {}) {
    this.#items = [];
    if (erasing) this.#save();
    this.#wake?.abort(new Error("closed"));
  }

  #append(item) {
    this.#items.push(item);
    this.#save();
    this.#onChange(item);
    this.#run();
  }

  async #run() {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      for (let item; !this.#isPaused && (item = this.#next());) await this.#send(item);
    } finally {
      this.#isRunning = false;
    }
  }

  #next() {
    return this.#items.find((item) => item.state !== "failed" && item.state !== "sent");
  }

  async #send(item) {
    for (let attempt = 0; this.#items.includes(item); attempt += 1) {
      this.#set(item, "sending");
      try {
        await this.#post(item);
        return this.#set(item, "sent");
      } catch (error) {
        if (!(error instanceof ApiError)) return this.#set(item, "failed", "The demo itself failed; see the console.");
        if (error.status === 401) {
          this.#isPaused = true;
          return this.#set(item, "paused", "Waiting for a valid credential.");
        }
        if (!error.isTransient) return this.#set(item, "failed", error.detail);
        const wait = backoff(attempt, error.retryAfter);
        this.#set(item, "retrying", `${error.waitingWords} Next try in ${Math.ceil(wait / 1000)}\u00a0s.`);
        this.#wake = new AbortController();
        await pause(wait, this.#wake.signal).catch(() => {});
      }
    }
  }

  #set(item, state, detail = "") {
    item.state = state;
    item.detail = detail;
    // Confirmed or closed while its POST was under way: nobody waits for it any more.
    if (!this.#items.includes(item)) return;
    this.#onChange(item);
    this.#save();
  }

  #drop(key) {
    const count = this.#items.length;
    this.#items = this.#items.filter((item) => item.key !== key);
    if (this.#items.length === count) return;
    this.#save();
    this.#wake?.abort(new Error("dropped"));
  }

  #save() {
    if (!this.#storageKey) return;
    const unsent = this.#items.filter((item) => item.state !== "sent");
    try {
      if (unsent.length) sessionStorage.setItem(this.#storageKey, JSON.stringify(unsent));
      else sessionStorage.removeItem(this.#storageKey);
    } catch {
      // Then a reload forgets what was not sent, as a page without storage must.
    }
  }
}
