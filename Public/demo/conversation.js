// A conversation as both sides see it: the log of messages, where it is scrolled to, and the field to write in.

import { MessageList } from "./messages.js";
import { element } from "./view.js";

/** The longest message the API takes, in Unicode scalars. */
const LONGEST = 10_000;

/** How near to its end the log counts as being read to the end, in pixels. */
const NEAR = 48;

/** One conversation in the page. It knows nothing of the network: what it shows is given to it. */
export class Conversation {
  #root;
  #log;
  #field;
  #messages;
  #isAtEnd = true;
  #settings;

  /**
   * @param {HTMLElement} place is filled with the conversation
   * @param {object} settings
   * @param {"user"|"manager"} settings.mine
   * @param {string} settings.label of the field, for people
   * @param {(text: string) => void} settings.onSend
   * @param {(key: string) => void} settings.onRetry
   * @param {(key: string) => void} settings.onDiscard
   * @param {() => Promise<void>} settings.onEarlier older messages are wanted
   */
  constructor(place, settings) {
    this.#settings = settings;
    place.append(document.querySelector("template#conversation").content.cloneNode(true));
    this.#root = place.querySelector(".conversation");
    this.#log = this.#find(".log");
    this.#field = this.#find("textarea");
    this.#find("label > span").textContent = settings.label;
    this.#messages = new MessageList(this.#find(".messages"), settings);
    this.#followScrolling();
    this.#takeInput();
  }

  /** The lowest message id that is shown, or null. */
  get oldestID() {
    return this.#messages.oldestID;
  }

  /** Shows `items` alone. @param {{items: object[], has_more: boolean}} page */
  show(page) {
    this.#messages.clear();
    this.#isAtEnd = true;
    this.merge(page);
  }

  /** Shows `items` among what is there: messages may have come by the stream while the page was fetched. */
  merge(page) {
    for (const message of page.items) this.#messages.put(message);
    this.#find(".earlier").hidden = !page.has_more;
    this.#settle();
  }

  /** Shows older messages above without moving what is being read. */
  prepend(page) {
    const fromEnd = this.#log.scrollHeight - this.#log.scrollTop;
    for (const message of page.items) this.#messages.put(message);
    this.#find(".earlier").hidden = !page.has_more;
    this.#log.scrollTop = this.#log.scrollHeight - fromEnd;
  }

  /** A message that has just happened. @returns {boolean} whether it is new here */
  receive(message) {
    const isNew = this.#messages.put(message);
    if (isNew && message.sender !== this.#settings.mine) {
      this.#announce(`${this.#messages.nameOf(message)}: ${message.text}`);
      if (!this.#isAtEnd) this.#find(".jump").hidden = false;
    }
    this.#settle();
    return isNew;
  }

  /** A message of one's own on its way. @param {import("./outbox.js").Item} item */
  showPending(item) {
    this.#messages.putPending(item);
    if (item.state === "failed") this.#announce(`Not sent. ${item.detail}`);
    this.#settle();
  }

  removePending(key) {
    this.#messages.removePending(key);
    this.#settle();
  }

  clear() {
    this.#messages.clear();
    this.notice("");
    this.#find(".earlier").hidden = true;
    this.#settle();
  }

  /** A sentence above the field, or none. */
  notice(words) {
    this.#find(".notice").textContent = words;
    this.#find(".notice").hidden = words === "";
  }

  /** What stands in a log without messages. */
  set emptyWords(words) {
    this.#find(".empty").textContent = words;
    this.#settle();
  }

  /** Whether one can write now. */
  set isOpen(value) {
    this.#field.disabled = !value;
    this.#refresh();
  }

  focus() {
    this.#field.focus();
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }

  #settle() {
    this.#find(".empty").hidden = !this.#messages.isEmpty;
    if (this.#isAtEnd) this.#scrollToEnd();
  }

  #scrollToEnd() {
    this.#isAtEnd = true;
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#find(".jump").hidden = true;
  }

  /** Said once to screen readers. The log itself is no live region: history would be read out whole. */
  #announce(words) {
    const line = element("span", "", words);
    this.#find(".announcer").replaceChildren(line);
    setTimeout(() => line.remove(), 4000);
  }

  #followScrolling() {
    this.#log.addEventListener("scroll", () => {
      // A half that is not shown has no height, and a browser may move its scroll position to 0.
      if (this.#log.clientHeight === 0) return;
      this.#isAtEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < NEAR;
      if (this.#isAtEnd) this.#find(".jump").hidden = true;
    }, { passive: true });
    // The on-screen keyboard, a growing field or another tab change the height under a reader at the end.
    new ResizeObserver(() => this.#isAtEnd && this.#scrollToEnd()).observe(this.#log);
    this.#find(".jump").addEventListener("click", () => this.#scrollToEnd());

    const earlier = this.#find(".earlier");
    earlier.addEventListener("click", async () => {
      earlier.disabled = true;
      await this.#settings.onEarlier().finally(() => { earlier.disabled = false; });
    });
  }

  #takeInput() {
    this.#field.addEventListener("input", () => this.#refresh());
    this.#field.addEventListener("keydown", (event) => {
      // While a word is being composed (Chinese, Japanese, Korean), Enter chooses it.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    this.#find(".composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#refresh();
  }

  #send() {
    const text = this.#field.value.trim();
    if (this.#field.disabled || !text || [...text].length > LONGEST) return;
    this.#field.value = "";
    this.#refresh();
    this.#isAtEnd = true;
    this.#settings.onSend(text);
    this.#field.focus();
  }

  #refresh() {
    const text = this.#field.value.trim();
    // Scalars, as the server counts; `length` would count an emoji twice.
    const length = text.length > LONGEST * 0.9 ? [...text].length : text.length;
    const isTooLong = length > LONGEST;
    const counter = this.#find(".counter");
    counter.hidden = length <= LONGEST * 0.9;
    counter.textContent = `${length.toLocaleString("en")} of ${LONGEST.toLocaleString("en")} characters`;
    counter.classList.toggle("over", isTooLong);
    this.#find(".send").disabled = this.#field.disabled || !text || isTooLong;
    // Where CSS cannot size a field by its content, this does.
    if (!CSS.supports("field-sizing", "content")) {
      this.#field.style.height = "auto";
      this.#field.style.height = `${this.#field.scrollHeight}px`;
    }
  }
}
