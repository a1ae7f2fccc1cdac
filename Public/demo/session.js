// The operator's session: the access token, and calls made with it.

import { ApiError, call } from "./api.js";

const PLACE = "replyx.demo.session";

/**
 * An operator who is signed in, or not. The access token outlives a reload of this tab, never the tab; it is not in
 * localStorage, where every page of this origin could find it later.
 */
export class Session {
  #token = null;
  #onEnded;
  email = null;

  /** @param {{onEnded: () => void}} settings called once when the server no longer takes the token */
  constructor({ onEnded }) {
    this.#onEnded = onEnded;
    try {
      const { token, email, until } = JSON.parse(sessionStorage.getItem(PLACE) ?? "{}");
      if (token && until > Date.now()) Object.assign(this, { email }).#token = token;
    } catch {
      // Nothing that can be taken up.
    }
  }

  get isOpen() {
    return this.#token !== null;
  }

  /**
   * Signs in. The password goes nowhere but into this one call's body.
   * @throws {ApiError} `login_wrong` for a wrong address or password
   */
  async signIn(email, password) {
    const granted = await call("POST", "login", { body: { username: email, password } });
    this.#token = granted.access_token;
    this.email = email;
    try {
      const until = Date.now() + granted.expires_in * 1000;
      sessionStorage.setItem(PLACE, JSON.stringify({ token: this.#token, email, until }));
    } catch {
      // Storage closed to us: a reload asks again.
    }
  }

  signOut() {
    this.#token = null;
    try {
      sessionStorage.removeItem(PLACE);
    } catch {
      // Then nothing was kept there either.
    }
  }

  /** A call as this operator. @throws {ApiError} */
  async call(method, path, options = {}) {
    const token = this.#token;
    if (!token) throw new ApiError({ status: 401, code: "unauthorized", detail: "Nobody is signed in." });
    try {
      return await call(method, path, { ...options, headers: { Authorization: `Bearer ${token}` } });
    } catch (error) {
      // Several calls may be refused at once, some after a new sign-in: only the present token's refusal ends it.
      if (error.status === 401 && token === this.#token) {
        this.signOut();
        this.#onEnded();
      }
      throw error;
    }
  }
}
