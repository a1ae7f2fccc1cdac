// The visitor's half: what runs in a chat panel of a customer's page.

import { ApiError, address, call, persist } from "./api.js";
import { Conversation } from "./conversation.js";
import { GuestKeeper } from "./identity.js";
import { Outbox } from "./outbox.js";
import { EventStream } from "./stream.js";
import { openGate, showConnection } from "./view.js";

/** One visitor at one site: opens their dialog, shows it, follows it, and writes into it. */
export class Visitor {
  #root;
  #conversation;
  #stream;
  #outbox = null;
  #onNews;
  /** What belongs to the present site token; another token ends it. */
  #visit = null;
  #siteToken = null;
  #guest = null;
  #dialogID = null;

  /**
   * @param {HTMLElement} root the half's element
   * @param {object} settings
   * @param {(frame: object) => void} settings.onFrame every frame of the stream, as it came
   * @param {() => void} settings.onNews the other side has said something
   */
  constructor(root, { onFrame, onNews }) {
    this.#root = root;
    this.#onNews = onNews;
    this.#conversation = new Conversation(root.querySelector("[data-conversation]"), {
      mine: "user",
      label: "Your message to the shop",
      onSend: (text) => this.#outbox.add(text, this.#dialogID),
      onRetry: (key) => this.#outbox.retry(key),
      onDiscard: (key) => {
        this.#outbox.discard(key);
        this.#conversation.removePending(key);
      },
      onEarlier: () => this.#loadEarlier(),
    });
    this.#conversation.emptyWords = "Ask us anything. What you write here appears on the operator’s side at once.";
    this.#stream = new EventStream({
      address: (token, cursor) =>
        address(`site/dialogs/${this.#dialogID}/events`, { stream_token: token, last_event_id: cursor }),
      renew: async () => (await this.#history({ limit: 1 })).stream_token,
      onEvent: (event) => this.#take(event),
      onReset: () => this.#attempt(() => this.#load()),
      onRefused: (error) => this.#refused(error),
      onState: (kind, words) => this.#state(kind, words),
      onFrame,
    });
  }

  /** Enters with a site token, in place of any before; without one the reader is asked for it. */
  enter(siteToken) {
    this.#leave();
    if (!siteToken) return this.#ask("");
    this.#root.querySelector(".token-form").hidden = true;
    this.#root.querySelector("[data-conversation]").hidden = false;
    this.#siteToken = siteToken;
    this.#guest = new GuestKeeper(siteToken);
    this.#visit = new AbortController();
    this.#outbox = new Outbox({
      post: (item) => this.#post(item),
      onChange: (item) => this.#conversation.showPending(item),
      storageKey: `${this.#guest.place}.unsent`,
    });
    this.#state("waiting", "Connecting…");
    this.#attempt(async () => {
      await this.#open();
      // Before the history: what it holds already is then known not to be unsent.
      this.#outbox.restore();
      await this.#load();
    });
  }

  #leave() {
    this.#visit?.abort(new DOMException("another site", "AbortError"));
    this.#outbox?.close();
    this.#stream.stop();
    this.#conversation.clear();
    this.#conversation.isOpen = false;
    this.#dialogID = null;
    this.#root.querySelector("[data-dialog]").hidden = true;
  }

  /** The visitor's open dialog, or a new one. */
  async #open() {
    const opened = await this.#persist(() => this.#call("POST", "site/dialogs", { body: {} }));
    // Without a guest id the server makes one; it is told this once, and from then on it is who we are.
    if (opened.guest_id) this.#guest.id = opened.guest_id;
    this.#dialogID = opened.id;
    const badge = this.#root.querySelector("[data-dialog]");
    badge.textContent = `dialog ${opened.id}`;
    badge.hidden = false;
  }

  /** The newest messages, and the stream from the cursor that was read with them: nothing lies between the two. */
  async #load() {
    this.#stream.stop();
    const page = await this.#persist(() => this.#history({ limit: 50 }));
    for (const message of page.items) this.#confirm(message);
    this.#conversation.show(page);
    for (const item of this.#outbox.items) this.#conversation.showPending(item);
    this.#conversation.isOpen = true;
    this.#stream.start(page.stream_token, page.cursor);
  }

  async #loadEarlier() {
    await this.#attempt(async () => {
      this.#conversation.prepend(await this.#history({ before_id: this.#conversation.oldestID, limit: 50 }));
    });
  }

  async #post(item) {
    const post = () => this.#call("POST", `site/dialogs/${item.dialogID}/messages`, {
      body: { text: item.text, client_message_id: item.key },
    });
    let answer;
    try {
      answer = await post();
    } catch (error) {
      if (error.status === 401) this.#refused(error);
      const isOver = error.code === "dialog_closed" || error.status === 404 || error.status === 410;
      if (!isOver) throw error;
      // Closed meanwhile: the same message, under the same name, belongs to the next dialog.
      await this.#open();
      item.dialogID = this.#dialogID;
      await this.#load();
      answer = await post();
    }
    this.#posted(item, answer.user_message);
  }

  /** The event settles a bubble. One that has passed already, or belongs to an earlier dialog, will not come. */
  #posted(item, message) {
    if (item.dialogID !== this.#dialogID) {
      this.#outbox.confirm(item.key);
      this.#conversation.removePending(item.key);
    } else if (message.seq <= this.#stream.number) {
      this.#confirm(message);
      this.#conversation.receive(message);
    }
  }

  #take(event) {
    switch (event.type) {
      case "message:new":
        this.#confirm(event.message);
        if (this.#conversation.receive(event.message) && event.message.sender !== "user") this.#onNews();
        break;
      case "dialog:closed":
        this.#conversation.notice("This conversation was closed. Your next message begins a new one.");
        break;
      case "dialog:updated":
        if (event.dialog?.status === "open") this.#conversation.notice("");
        break;
    }
  }

  /** The other side sees our keys too, so only a message of our own settles one. */
  #confirm(message) {
    if (message.sender === "user" && message.client_message_id) this.#outbox.confirm(message.client_message_id);
  }

  #history(query) {
    return this.#call("GET", `site/dialogs/${this.#dialogID}/messages`, { query });
  }

  #call(method, path, options = {}) {
    const headers = { "X-Site-Token": this.#siteToken };
    if (this.#guest.id) headers["X-Guest-Id"] = this.#guest.id;
    return call(method, path, { ...options, headers, signal: this.#visit.signal });
  }

  #persist(task) {
    return persist(task, {
      signal: this.#visit.signal,
      onWait: (error, wait) => this.#state("waiting", `${error.waitingWords} Next try in ${Math.ceil(wait / 1000)}\u00a0s.`),
    });
  }

  /** Does `task`; a refusal is shown, and what belongs to a visit that has ended is dropped. */
  async #attempt(task) {
    const visit = this.#visit;
    try {
      await task();
    } catch (error) {
      if (visit.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.isTransient) this.#conversation.notice(error.detail);
      else this.#refused(error);
    }
  }

  #refused(error) {
    if (error.status === 422 && this.#guest.id) {
      // What was kept is no guest id that this server takes: come as a new visitor.
      this.#guest.id = null;
      return this.enter(this.#siteToken);
    }
    if ((error.status === 404 || error.status === 410) && this.#dialogID) {
      this.#dialogID = null;
      this.#conversation.isOpen = false;
      return this.#attempt(async () => {
        await this.#open();
        await this.#load();
      });
    }
    this.#leave();
    this.#ask(
      error.status === 401
        ? "This site token is not valid here, or was revoked."
        : `${error.detail} (${error.code})`);
  }

  #ask(why) {
    this.#state("off", "No site token");
    this.#root.querySelector("[data-conversation]").hidden = true;
    openGate(this.#root.querySelector(".token-form"), why, this.#root);
  }

  #state(kind, words) {
    showConnection(this.#root.querySelector(".connection"), kind, words);
  }
}
