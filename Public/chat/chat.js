// The chat frame: one visitor's dialog, inside a customer's page.

import * as page from "./page.js";

/** A call without any answer for this long has failed, in milliseconds. */
const PATIENCE = 15_000;
/** Without a frame for this long a stream is taken for dead: heartbeats come every 15 s. */
const SILENCE = 45_000;
/** How often a passing failure is tried again before the visitor is asked. */
const TRIES = 8;

const api = new URL("../api/site/", location.href);
const siteToken = new URLSearchParams(location.search).get("site_token") ?? "";
const guestID = keptGuest(assistantOf(siteToken));

let dialogID = null;
let source = null;
let timer = null;
/** Counts what was followed; an answer for an earlier turn is dropped. */
let turn = 0;
/** Streams that ended without a sign of life in between. */
let broken = 0;
const outbox = [];
let isSending = false;

page.prepare((text) => {
  const item = { key: uuid(), text };
  page.putPending(item, "sending");
  outbox.push(item);
  send();
});
page.connection("connecting");
follow();

// MARK: Reading

/** Shows what is there and follows from where it was read: at first, and after whatever ended a stream. */
async function follow() {
  const mine = stop();
  try {
    await persist(open);
    const history = await persist(() => call("GET", `dialogs/${dialogID}/messages?limit=50`));
    if (mine !== turn) return;
    // More than a page behind would leave a hole: the newest page alone is whole.
    if (history.has_more) page.clear();
    for (const message of history.items) page.put(message);
    page.settled();
    page.notice(null);
    listen(history.stream_token, history.cursor);
  } catch (error) {
    if (mine !== turn) return;
    if (!(error instanceof Refusal)) throw error;
    if (error.isGone && dialogID !== null) {
      leave();
      followAgain();
    } else if (error.isFinal) page.end();
    else page.notice("away", follow);
  }
}

/** The visitor's open dialog, or a new one. */
async function open() {
  dialogID ??= (await call("POST", "dialogs", {})).id;
}

/** The dialog is over or gone: the next one will take its place. */
function leave() {
  dialogID = null;
  page.clear();
}

function listen(streamToken, cursor) {
  const address = new URL(`dialogs/${dialogID}/events`, api);
  address.search = new URLSearchParams({ stream_token: streamToken, last_event_id: cursor });
  const stream = (source = new EventSource(address));
  const on = (name, take) => stream.addEventListener(name, (event) => {
    // Frames still queued by a stream that was given up.
    if (source !== stream) return;
    watch();
    take(event);
  });
  on("message", (event) => take(JSON.parse(event.data)));
  on("hb", () => {
    broken = 0;
    page.connection("live");
  });
  on("reset", followAgain);
  // The browser would come back with the expired token for ever; every other farewell it obeys by itself.
  on("bye", (event) => JSON.parse(event.data).reason === "expired" && followAgain());
  on("error", () => {
    page.connection("lost");
    if (stream.readyState === EventSource.CLOSED) followAgain();
  });
  watch();
}

function take(event) {
  if (event.type === "message:new") page.put(event.message, true);
  else if (event.type === "dialog:closed") page.notice("closed");
  else if (event.type === "dialog:updated" && event.dialog?.status === "open") page.notice(null);
}

/** With a new token, from the history; later each time it comes to nothing. */
function followAgain() {
  stop();
  timer = setTimeout(follow, broken === 0 ? 0 : backoff(broken));
  broken += 1;
}

function watch() {
  clearTimeout(timer);
  timer = setTimeout(followAgain, SILENCE);
}

function stop() {
  clearTimeout(timer);
  source?.close();
  source = null;
  return ++turn;
}

// MARK: Writing

/** Sends in the order of writing, each message under its own key, so that trying again never doubles one. */
async function send() {
  if (isSending) return;
  isSending = true;
  for (let item; (item = outbox.shift());) {
    try {
      page.put((await persist(() => post(item), () => page.putPending(item, "waiting"))).user_message);
    } catch (error) {
      if (error.isFinal) page.end();
      page.putPending(item, "failed", () => {
        page.putPending(item, "sending");
        outbox.push(item);
        send();
      });
    }
  }
  isSending = false;
}

async function post(item) {
  const body = { text: item.text, client_message_id: item.key };
  await open();
  try {
    return await call("POST", `dialogs/${dialogID}/messages`, body);
  } catch (error) {
    if (!error.isGone && error.code !== "dialog_closed") throw error;
  }
  // The same message, under the same key, belongs to the next dialog.
  leave();
  await open();
  follow();
  return call("POST", `dialogs/${dialogID}/messages`, body);
}

// MARK: Calls

/** What was refused, or did not come through (`status` 0). */
class Refusal extends Error {
  constructor(status, code = "network", retryAfter = 0) {
    super(code);
    Object.assign(this, { status, code, retryAfter });
  }
  get isPassing() { return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500; }
  get isGone() { return this.status === 404 || this.status === 410; }
  /** This site, or this visitor, is not let in. */
  get isFinal() { return this.status === 401 || this.status === 403; }
}

/** One call as this visitor. The credentials travel in headers: addresses end in logs. */
async function call(method, path, body) {
  try {
    const response = await fetch(new URL(path, api), {
      method,
      headers: { "Content-Type": "application/json", "X-Site-Token": siteToken, "X-Guest-Id": guestID },
      body: body && JSON.stringify(body),
      credentials: "omit",
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE),
    });
    const answer = await response.json().catch(() => null);
    if (response.ok && answer) return answer;
    throw new Refusal(response.ok ? 0 : response.status, answer?.code, Number(response.headers.get("Retry-After")) || 0);
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal(0);
  }
}

/** Does `task` again while its failure is a passing one. */
async function persist(task, onWait = () => page.connection("lost")) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await task();
    } catch (error) {
      if (!error.isPassing || attempt === TRIES) throw error;
      onWait();
      await new Promise((resolve) => setTimeout(resolve, Math.max(backoff(attempt), error.retryAfter * 1000)));
    }
  }
}

/** Doubling from 1 s to 20 s, half of it random, so that many clients of one server do not come back in step. */
function backoff(attempt) {
  return Math.min(20_000, 500 * 2 ** attempt) * (0.5 + Math.random() / 2);
}

// MARK: Who we are

/** Read for the name of a drawer only: it is the server that checks the token. */
function assistantOf(token) {
  try {
    return Number(JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).assistant_id);
  } catch {
    return 0;
  }
}

/** The visitor's secret at this assistant; without storage it lasts as long as the page. */
function keptGuest(assistant) {
  const place = `replyx.guest.${assistant}`;
  const made = uuid();
  try {
    const kept = localStorage.getItem(place) ?? "";
    if (/^[0-9a-f-]{36}$/.test(kept)) return kept;
    localStorage.setItem(place, made);
  } catch {
    // Storage is closed to frames of other sites in some browsers.
  }
  return made;
}

/** `crypto.randomUUID` exists only on https and loopback; the random numbers are everywhere. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
