// The operator's list of dialogs.

import { briefTime, element } from "./view.js";

/** Keeps the dialogs an operator sees, the one with the newest message first, and draws them as a list of buttons. */
export class DialogList {
  #root;
  #onOpen;
  /** By id: `{dialog, unread, node}`. */
  #entries = new Map();
  #openID = null;

  /**
   * @param {HTMLElement} root
   * @param {{onOpen: (id: number) => void, onMore: () => Promise<void>}} settings
   */
  constructor(root, { onOpen, onMore }) {
    this.#root = root;
    this.#onOpen = onOpen;
    const more = root.querySelector(".more");
    more.addEventListener("click", async () => {
      more.disabled = true;
      await onMore().finally(() => { more.disabled = false; });
    });
  }

  /** Shows these alone; what was unread stays so. @param {{items: object[], has_more: boolean}} page */
  show(page) {
    const before = this.#entries;
    this.#entries = new Map();
    this.#root.querySelector("ul").replaceChildren();
    this.append(page);
    for (const [id, entry] of this.#entries) {
      entry.unread = before.get(id)?.unread ?? 0;
      this.#draw(entry);
    }
  }

  /** Shows an older page below. */
  append(page) {
    for (const dialog of page.items) this.put(dialog);
    this.#root.querySelector(".more").hidden = !page.has_more;
    this.#settle();
  }

  has(id) {
    return this.#entries.has(id);
  }

  get(id) {
    return this.#entries.get(id)?.dialog;
  }

  /** A dialog as it is now; what an event leaves out is kept. */
  put(dialog) {
    let entry = this.#entries.get(dialog.id);
    if (!entry) {
      entry = { dialog: {}, unread: 0, node: this.#row(dialog.id) };
      this.#entries.set(dialog.id, entry);
    }
    const known = entry.dialog.last_message;
    entry.dialog = { ...entry.dialog, ...dialog };
    // An answer read before an event came may arrive after it.
    if (known && known.id > (entry.dialog.last_message?.id ?? 0)) entry.dialog.last_message = known;
    this.#draw(entry);
    this.#place(entry);
    this.#settle();
  }

  /** A message of a listed dialog. @returns {boolean} whether it is unread now */
  noteMessage(message) {
    const entry = this.#entries.get(message.dialog_id);
    if (!entry) return false;
    if (message.id <= (entry.dialog.last_message?.id ?? 0)) return false;
    entry.dialog.last_message = message;
    const isUnread = message.sender === "user" && message.dialog_id !== this.#openID;
    if (isUnread) entry.unread += 1;
    this.#draw(entry);
    this.#place(entry);
    return isUnread;
  }

  /** Marks the dialog that is open beside the list; null for none. */
  markOpen(id) {
    const before = this.#entries.get(this.#openID);
    this.#openID = id;
    const now = this.#entries.get(id);
    if (now) now.unread = 0;
    for (const entry of [before, now]) if (entry) this.#draw(entry);
  }

  /** Puts the keyboard on a dialog of the list. */
  focus(id) {
    this.#entries.get(id)?.node.querySelector("button").focus();
  }

  #row(id) {
    const node = element("li");
    const button = element("button", "dialog");
    button.type = "button";
    button.addEventListener("click", () => this.#onOpen(id));
    node.append(button);
    return node;
  }

  #draw({ dialog, unread, node }) {
    const button = node.firstElementChild;
    const isOpen = dialog.id === this.#openID;
    if (isOpen) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");

    const title = element("span", "dialog-title", titleOf(dialog));
    title.dir = "auto";
    const last = dialog.last_message;
    const when = element("span", "dialog-time", last ? briefTime(last.timestamp) : "");
    const text = element("span", "dialog-text");
    const by = last?.author?.name ?? { manager: "Operator", assistant: "Assistant" }[last?.sender];
    if (by && last.sender !== "user") text.append(element("bdi", "", by), ": ");
    // Its own direction for what was said, so that it does not turn the name before it.
    text.append(element("bdi", "", last?.text ?? "Nothing said yet"));
    button.replaceChildren(title, when, text);
    if (dialog.status === "closed") button.append(element("span", "badge", "closed"));
    if (unread > 0) {
      const badge = element("span", "unread", String(unread));
      badge.append(element("span", "visually-hidden", " unread"));
      button.append(badge);
    }
  }

  /** Newest message first. Moving a node takes the focus from it, so it is moved only if its place has changed. */
  #place(entry) {
    const list = this.#root.querySelector("ul");
    const rank = (other) => other.dialog.last_message?.id ?? 0;
    const ordered = [...this.#entries.values()].sort((a, b) => rank(b) - rank(a) || b.dialog.id - a.dialog.id);
    const after = ordered[ordered.indexOf(entry) + 1]?.node ?? null;
    if (entry.node.parentNode === list && entry.node.nextSibling === after) return;
    const focused = entry.node.contains(document.activeElement);
    list.insertBefore(entry.node, after);
    if (focused) entry.node.firstElementChild.focus({ preventScroll: true });
  }

  #settle() {
    this.#root.querySelector(".empty").hidden = this.#entries.size > 0;
  }
}

/** What a dialog is called: the visitor's name if they gave one. */
export function titleOf(dialog) {
  return dialog.visitor?.name || `Visitor ${dialog.id}`;
}
