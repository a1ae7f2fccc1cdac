// The operator's half: every dialog of the account, live, by one stream.

import { ApiError, address, persist } from "./api.js";
import { Conversation } from "./conversation.js";
import { DialogList, titleOf } from "./dialogs.js";
import { Outbox } from "./outbox.js";
import { Session } from "./session.js";
import { EventStream } from "./stream.js";
import { openGate, showConnection } from "./view.js";

/** One operator's desk: signing in, the list of dialogs, and the one that is open. */
export class Operator {
  #root;
  #session;
  #list;
  #conversation;
  #stream;
  #outbox;
  #onNews;
  #openID = null;
  #nextPage = null;
  /** Ends with the session or a newer start; what was begun before is then dropped. */
  #work = null;
  #lastEmail = null;

  /**
   * @param {HTMLElement} root the half's element
   * @param {object} settings
   * @param {(frame: object) => void} settings.onFrame every frame of the stream, as it came
   * @param {() => void} settings.onNews a visitor has said something
   */
  constructor(root, { onFrame, onNews }) {
    this.#root = root;
    this.#onNews = onNews;
    this.#session = new Session({
      onEnded: () => this.#close("Your session has ended. Sign in to go on where you were."),
    });
    this.#list = new DialogList(this.#find(".dialogs"), {
      onOpen: (id) => this.#open(id, { focusing: true }),
      onMore: () => this.#loadMore(),
    });
    this.#conversation = new Conversation(this.#find("[data-conversation]"), {
      mine: "manager",
      label: "Your answer to the visitor",
      onSend: (text) => this.#outbox.add(text, this.#openID),
      onRetry: (key) => this.#outbox.retry(key),
      onDiscard: (key) => {
        this.#outbox.discard(key);
        this.#conversation.removePending(key);
      },
      onEarlier: () => this.#loadEarlier(),
    });
    this.#outbox = new Outbox({
      post: (item) => this.#session.call("POST", `dialogs/${item.dialogID}/messages`, {
        body: { text: item.text, client_message_id: item.key },
      }),
      onChange: (item) => {
        if (item.dialogID === this.#openID) this.#conversation.showPending(item);
      },
    });
    this.#stream = new EventStream({
      address: (token, cursor) => address("admin/events", { stream_token: token, last_event_id: cursor }),
      renew: () => this.#streamToken(),
      onEvent: (event) => this.#take(event),
      onReset: () => this.#attempt(() => this.#load()),
      onRefused: (error) => {
        this.#refused(error);
        if (error.status !== 401) this.#state("off", error.detail);
      },
      onState: (kind, words) => this.#state(kind, words),
      onFrame,
    });
    this.#takeClicks();
  }

  /** Goes on with a session of this tab, or asks for one. */
  begin() {
    if (this.#session.isOpen) this.#enter();
    else this.#close("");
  }

  // MARK: Coming and going

  #enter() {
    if (this.#lastEmail !== null && this.#lastEmail !== this.#session.email) this.#forget();
    this.#lastEmail = this.#session.email;
    this.#find(".login-form").hidden = true;
    this.#find(".desk").hidden = false;
    this.#find(".desk-who").hidden = false;
    this.#find("[data-email]").textContent = this.#session.email;
    this.#state("waiting", "Connecting…");
    this.#work = new AbortController();
    this.#attempt(async () => {
      await this.#load();
      this.#outbox.resume();
    });
  }

  /** Asks for a sign-in. What was read and written stays behind the form, for the same operator. */
  #close(why) {
    this.#work?.abort(new DOMException("signed out", "AbortError"));
    this.#stream.stop();
    this.#state("off", "Signed out");
    const form = this.#find(".login-form");
    openGate(form, why, this.#root);
    this.#find(".desk").hidden = true;
    this.#find(".desk-who").hidden = true;
  }

  /** Another operator must not find, nor send, what the one before had written. */
  #forget() {
    this.#outbox.close();
    this.#show(null);
    this.#list.show({ items: [], has_more: false });
  }

  // MARK: Reading

  /** The list and the stream from the cursor that was read with it; then the open dialog, which may be newer. */
  async #load() {
    const { signal } = this.#work;
    this.#stream.stop();
    const [page, token] = await this.#persist(() => Promise.all([this.#page(null), this.#streamToken()]));
    signal.throwIfAborted();
    this.#nextPage = page.next_cursor;
    this.#list.show(page);
    this.#stream.start(token, page.cursor);
    if (this.#openID === null) return;
    // Not merged with what was shown: after a reset some of it may no longer be there.
    this.#conversation.clear();
    await this.#open(this.#openID);
  }

  async #loadMore() {
    await this.#attempt(async () => {
      const page = await this.#page(this.#nextPage);
      this.#nextPage = page.next_cursor;
      this.#list.append(page);
    });
  }

  async #open(id, { focusing = false } = {}) {
    this.#show(id);
    await this.#attempt(async () => {
      const query = { limit: 50 };
      const page = await this.#persist(() => this.#session.call("GET", `dialogs/${id}/messages`, { query }));
      if (this.#openID !== id) return;
      for (const message of page.items) this.#confirm(message);
      this.#conversation.merge(page);
      for (const item of this.#outbox.items) if (item.dialogID === id) this.#conversation.showPending(item);
      this.#conversation.isOpen = true;
      if (focusing) this.#conversation.focus();
    });
  }

  async #loadEarlier() {
    const id = this.#openID;
    await this.#attempt(async () => {
      const query = { before_id: this.#conversation.oldestID, limit: 50 };
      const page = await this.#session.call("GET", `dialogs/${id}/messages`, { query });
      if (this.#openID === id) this.#conversation.prepend(page);
    });
  }

  /** Shows the frame of a dialog, empty until its messages are there; null for none. */
  #show(id) {
    const isAnother = this.#openID !== id;
    this.#openID = id;
    this.#list.markOpen(id);
    this.#find(".desk").toggleAttribute("data-reading", id !== null);
    this.#find(".thread-head").hidden = id === null;
    this.#find(".thread-empty").hidden = id !== null;
    this.#find("[data-conversation]").hidden = id === null;
    if (isAnother) {
      this.#conversation.clear();
      this.#conversation.isOpen = false;
    }
    this.#head();
  }

  #head() {
    const dialog = this.#list.get(this.#openID);
    if (!dialog) return;
    this.#find("[data-title]").textContent = titleOf(dialog);
    this.#find("[data-status]").textContent = `dialog ${dialog.id} · ${dialog.status}`;
  }

  // MARK: The stream

  #take(event) {
    if (event.type === "message:new") return this.#takeMessage(event.message);
    if (event.type.startsWith("dialog:") && event.dialog) {
      this.#list.put(event.dialog);
      this.#head();
    }
  }

  #takeMessage(message) {
    this.#confirm(message);
    // Older than the loaded pages: said something again, so it belongs to the top of the list.
    if (!this.#list.has(message.dialog_id)) this.#fetchDialog(message.dialog_id);
    const isUnread = this.#list.noteMessage(message);
    const isNew = message.dialog_id === this.#openID && this.#conversation.receive(message);
    if (message.sender === "user" && (isUnread || isNew)) this.#onNews();
  }

  async #fetchDialog(id) {
    await this.#attempt(async () => {
      this.#list.put(await this.#session.call("GET", `dialogs/${id}`));
    });
  }

  #confirm(message) {
    if (message.sender === "manager" && message.client_message_id) this.#outbox.confirm(message.client_message_id);
  }

  async #streamToken() {
    return (await this.#session.call("POST", "stream-tokens", { body: {} })).stream_token;
  }

  #page(cursor) {
    return this.#session.call("GET", "dialogs", { query: { limit: 50, cursor } });
  }

  // MARK: Trouble

  #persist(task) {
    return persist(task, {
      signal: this.#work.signal,
      onWait: (error, wait) => this.#state("waiting", `${error.waitingWords} Next try in ${Math.ceil(wait / 1000)}\u00a0s.`),
    });
  }

  async #attempt(task) {
    const work = this.#work;
    try {
      await task();
    } catch (error) {
      if (work.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.#refused(error);
    }
  }

  #refused(error) {
    // The session itself has shown the form already.
    if (error.status === 401) return;
    this.#conversation.notice(`${error.detail} (${error.code})`);
  }

  // MARK: The page

  #takeClicks() {
    const form = this.#find(".login-form");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const { email, password } = form.elements;
      const button = form.querySelector("button");
      button.disabled = true;
      try {
        await this.#session.signIn(email.value.trim(), password.value);
        password.value = "";
        this.#enter();
        this.#find("[data-sign-out]").focus();
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        form.querySelector(".gate-why").textContent = error.detail;
        password.select();
      } finally {
        button.disabled = false;
      }
    });
    this.#find("[data-sign-out]").addEventListener("click", () => {
      this.#session.signOut();
      this.#forget();
      this.#close("");
    });
    this.#find(".back").addEventListener("click", () => {
      const id = this.#openID;
      this.#show(null);
      this.#list.focus(id);
    });
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }

  #state(kind, words) {
    showConnection(this.#find(".connection"), kind, words);
  }
}
