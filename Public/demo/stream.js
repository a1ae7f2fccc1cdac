// One followed stream: the browser's EventSource, and what it leaves to the page.

import { ApiError, backoff } from "./api.js";

/**
 * Without any frame for this long an open connection is taken for dead, in milliseconds.
 * Heartbeats come every 15 s; a proxy or a sleeping laptop can lose a connection without telling the browser.
 */
const SILENCE = 40_000;

/** A connection that is not open after this long is tried anew; longer than any `retry` the server sends. */
const STILLNESS = 90_000;

const FAREWELLS = {
  drain: "The server is restarting. The browser reconnects by itself…",
  expired: "The stream’s credential has run out. Getting a new one…",
  slow: "This connection was too slow. The browser reconnects by itself…",
  overload: "The server is busy. The browser reconnects by itself…",
  erased: "This dialog was erased.",
};

/**
 * Follows a stream from a cursor, each event once and in order, until stopped.
 *
 * EventSource reconnects by itself after a broken connection, with `Last-Event-ID`. Three things it does not do, and
 * this does: it gives up for good after any answer but 200 (then a new one is opened from the last id), it does not
 * notice a silent connection, and it cannot change an address that holds an expired token.
 */
export class EventStream {
  #settings;
  #source = null;
  #token = null;
  /** `<generation>-<number>` of the last event taken: where the next connection begins. */
  #cursor = null;
  #attempt = 0;
  #timer = null;
  #watchdog = null;
  /** Whether the server has said why it ends: its reason then stays in sight until the next connection. */
  #parting = false;

  /**
   * @param {object} settings
   * @param {(token: string, cursor: string) => URL} settings.address of the stream
   * @param {() => Promise<string>} settings.renew a new stream token
   * @param {(data: object) => void} settings.onEvent each durable event once, in order; ephemeral ones as they come
   * @param {(reason: string) => void} settings.onReset events are missing: load anew and `start` from the new cursor
   * @param {(error: ApiError) => void} settings.onRefused the token was refused to us: nobody reconnects any more
   * @param {(kind: "live"|"waiting"|"off", words: string) => void} settings.onState for people
   * @param {(frame: {name: string, id: string, text: string, cursor: string}) => void} settings.onFrame everything
   */
  constructor(settings) {
    this.#settings = settings;
  }

  /** The number of the last event taken; 0 before the first. */
  get number() {
    return position(this.#cursor)?.number ?? 0;
  }

  /** Follows from `cursor`, in place of whatever was followed before. */
  start(token, cursor) {
    this.#token = token;
    this.#cursor = cursor;
    this.#parting = false;
    this.#state("waiting", "Connecting…");
    this.#open();
  }

  /** Ends without a word to the handlers. */
  stop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    this.#timer = null;
    this.#source?.close();
    this.#source = null;
  }

  #open() {
    this.stop();
    const source = new EventSource(this.#settings.address(this.#token, this.#cursor));
    this.#source = source;
    const on = (name, take) => source.addEventListener(name, (event) => {
      // Frames already queued by a connection that was given up would be taken twice.
      if (this.#source !== source) return;
      this.#watch(source);
      take(event);
    });
    on("open", () => {
      this.#parting = false;
      this.#state("waiting", "Connected, catching up…");
    });
    on("message", (event) => this.#take(event));
    on("hb", (event) => this.#beat(event));
    on("reset", (event) => this.#reset(event));
    on("bye", (event) => this.#bye(event));
    on("error", () => this.#broken(source));
    this.#watch(source);
  }

  #take(event) {
    const data = parse(event.data);
    if (!data) return this.#show(event);
    if (data.seq === undefined || data.seq === null) {
      // Ephemeral (typing, parts of an answer): no number, never repeated.
      this.#show(event);
      return this.#settings.onEvent(data);
    }
    const [here, next] = [position(this.#cursor), position(event.lastEventId)];
    if (!here || !next || next.generation !== here.generation || next.number > here.number + 1) {
      this.#show(event);
      return this.#resync("gap");
    }
    if (next.number <= here.number) return;
    this.#cursor = event.lastEventId;
    this.#attempt = 0;
    this.#show(event);
    this.#settings.onEvent(data);
  }

  #beat(event) {
    // The beat that ends a replay has an id: the place that we must have reached by now.
    const [here, reached] = [position(this.#cursor), position(event.lastEventId)];
    this.#show(event);
    if (reached && (reached.generation !== here?.generation || reached.number > here.number)) return this.#resync("gap");
    this.#attempt = 0;
    this.#state("live", "Live");
  }

  #reset(event) {
    this.#show(event);
    this.#resync(parse(event.data)?.reason ?? "unknown");
  }

  /** What was shown can no longer be continued. Waits longer each time, should the next start end here as well. */
  #resync(reason) {
    this.stop();
    this.#state("waiting", "Some events cannot be replayed. Loading the conversation anew…");
    const wait = this.#attempt === 0 ? 0 : backoff(this.#attempt);
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#settings.onReset(reason), wait);
  }

  #bye(event) {
    this.#show(event);
    const reason = parse(event.data)?.reason;
    this.#parting = true;
    this.#state("waiting", FAREWELLS[reason] ?? "The server ended the stream. The browser reconnects by itself…");
    // Left to itself the browser would knock with the same old token for ever.
    if (reason === "expired") this.#reopen();
  }

  #broken(source) {
    if (source.readyState === EventSource.CLOSED) return this.#reopen();
    if (!this.#parting) this.#state("waiting", "Connection lost. The browser reconnects by itself…");
  }

  /** A new EventSource from the last id with a new token, because what refused the old one is not told to the page. */
  #reopen() {
    this.stop();
    if (!this.#parting) this.#state("waiting", "Connection closed. Opening a new one…");
    const wait = backoff(this.#attempt);
    this.#attempt += 1;
    this.#timer = setTimeout(async () => {
      const timer = this.#timer;
      try {
        const token = await this.#settings.renew();
        if (timer !== this.#timer) return;
        this.#token = token;
        this.#open();
      } catch (error) {
        if (timer !== this.#timer) return;
        if (error instanceof ApiError && !error.isTransient) return this.#settings.onRefused(error);
        this.#reopen();
      }
    }, wait);
  }

  #watch(source) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      this.#state("waiting", "Nothing was heard for a while. Reconnecting…");
      this.#open();
    }, source.readyState === EventSource.OPEN ? SILENCE : STILLNESS);
  }

  #show(event) {
    this.#settings.onFrame({
      name: event.type, id: event.lastEventId ?? "", text: event.data ?? "", cursor: this.#cursor,
    });
  }

  #state(kind, words) {
    this.#settings.onState(kind, words);
  }
}

/** @returns {{generation: number, number: number}|null} of a cursor; null for anything else. */
function position(cursor) {
  const parts = /^(\d{1,18})-(\d{1,18})$/.exec(cursor ?? "");
  return parts && { generation: Number(parts[1]), number: Number(parts[2]) };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
