// Who the visitor is to the server, and the names of messages.

/**
 * A random UUID, version 4. `crypto.randomUUID` exists only on https and loopback; the random numbers are everywhere.
 */
export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** The site token in this page's address. Only from the fragment: a query would stand in servers' logs. */
export function siteTokenFromAddress() {
  return new URLSearchParams(location.hash.slice(1)).get("site_token")?.trim() || null;
}

/**
 * The visitor's secret for one site, kept in this browser.
 * It is a secret of the visitor, so it never enters an address; it is lost with the browser's storage.
 */
export class GuestKeeper {
  #name;
  #memory = null;

  constructor(siteToken) {
    this.#name = `replyx.demo.guest.${digest(siteToken)}`;
  }

  /** A name for things that belong to this visitor at this site. */
  get place() {
    return this.#name;
  }

  get id() {
    try {
      return localStorage.getItem(this.#name) ?? this.#memory;
    } catch {
      return this.#memory;
    }
  }

  set id(value) {
    this.#memory = value;
    try {
      if (value === null) localStorage.removeItem(this.#name);
      else localStorage.setItem(this.#name, value);
    } catch {
      // Storage closed to us (private windows): the visitor is then new after a reload.
    }
  }
}

/** A short name for a token, FNV-1a over two seeds. It only tells drawers apart and protects nothing. */
function digest(text) {
  const hash = (seed) => {
    let value = seed;
    for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
    return value.toString(16).padStart(8, "0");
  };
  return hash(0x811c9dc5) + hash(0x9747b28c);
}
