// Calls to the REST API, and its one format of errors.

/** The API lies beside the demo's folder, so the page also works behind a path of a proxy. */
const base = new URL("../api/", document.baseURI);

/** A call without any answer for this long has failed, in milliseconds. */
const PATIENCE = 15_000;

const observers = new Set();

/**
 * What was refused or did not come through.
 * `status` is 0 when there was no answer at all; `code` is the server's stable one, or `network`, `timeout`, `http_…`.
 */
export class ApiError extends Error {
  constructor({ status, code, detail, requestId = null, retryAfter = null }) {
    super(detail);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    /** For people. */
    this.detail = detail;
    this.requestId = requestId;
    /** Seconds, as `Retry-After` said, or null. */
    this.retryAfter = retryAfter;
  }

  /** What is told while the same call is going to be tried again. */
  get waitingWords() {
    return this.status >= 500 ? "The server is not ready." : this.detail;
  }

  /** Whether the same call may succeed later, unchanged. */
  get isTransient() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/**
 * The absolute address of an API path.
 * @param {string} path relative to `/api/`
 * @param {Record<string, string|number|null|undefined>} [query] empty values are left out
 */
export function address(path, query = {}) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined) url.searchParams.set(name, String(value));
  }
  return url;
}

/**
 * Tells `observer` of every finished call: `{method, path, status, replayed, milliseconds}`.
 * Neither headers nor bodies nor queries are told, so no secret can be shown by accident.
 */
export function observeCalls(observer) {
  observers.add(observer);
}

/**
 * One call, its JSON answer or an {@link ApiError}.
 * @param {string} method
 * @param {string} path relative to `/api/`
 * @param {{query?: object, headers?: object, body?: object, signal?: AbortSignal}} [options]
 */
export async function call(method, path, { query, headers = {}, body, signal } = {}) {
  const url = address(path, query);
  const began = performance.now();
  let status = 0;
  let replayed = false;
  try {
    const response = await fetch(url, {
      method,
      headers: { Accept: "application/json", ...(body && { "Content-Type": "application/json" }), ...headers },
      body: body && JSON.stringify(body),
      // The credential is always in a header here; a cookie of the panel must not speak for the demo.
      credentials: "omit",
      cache: "no-store",
      signal: deadline(signal),
    });
    status = response.status;
    replayed = response.headers.get("Idempotent-Replayed") === "true";
    const answer = await readJSON(response);
    if (!response.ok) throw refusal(response, answer);
    return answer;
  } catch (error) {
    if (error instanceof ApiError) throw error;
    if (signal?.aborted) throw signal.reason;
    throw new ApiError(
      error.name === "TimeoutError"
        ? { status: 0, code: "timeout", detail: "The server did not answer in time." }
        : { status: 0, code: "network", detail: "The server cannot be reached." });
  } finally {
    const exchange = { method, path: url.pathname, status, replayed, milliseconds: performance.now() - began };
    if (!signal?.aborted) for (const observer of observers) observer(exchange);
  }
}

/**
 * Does `task` until it succeeds or is refused for good; transient failures are waited out.
 * @param {() => Promise<T>} task
 * @param {{signal?: AbortSignal, onWait?: (error: ApiError, milliseconds: number) => void}} [options]
 * @returns {Promise<T>}
 * @template T
 */
export async function persist(task, { signal, onWait } = {}) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await task();
    } catch (error) {
      if (!(error instanceof ApiError) || !error.isTransient) throw error;
      const wait = backoff(attempt, error.retryAfter);
      onWait?.(error, wait);
      await pause(wait, signal);
    }
  }
}

/**
 * How long to wait before the next try, in milliseconds: doubling from 1 s to 20 s, half of it random so that
 * many clients of one server do not come back in step. Never less than `retryAfter` seconds.
 */
export function backoff(attempt, retryAfter = null) {
  const full = Math.min(20_000, 1000 * 2 ** attempt);
  return Math.max(full / 2 + Math.random() * (full / 2), (retryAfter ?? 0) * 1000);
}

/** Waits; rejects with the signal's reason when it is aborted meanwhile. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** The caller's signal and the time limit in one. Older browsers lack `any`; there the caller's alone must do. */
function deadline(signal) {
  if (!signal) return AbortSignal.timeout?.(PATIENCE);
  return AbortSignal.any ? AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]) : signal;
}

async function readJSON(response) {
  if (!/\bjson\b/.test(response.headers.get("Content-Type") ?? "")) return null;
  const text = await response.text();
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    // Cut off on the way: the status alone must tell.
    return null;
  }
}

function refusal(response, problem) {
  const field = problem?.errors?.[0]?.detail;
  return new ApiError({
    status: response.status,
    code: problem?.code ?? `http_${response.status}`,
    detail: field ?? problem?.detail ?? `The server answered ${response.status}.`,
    requestId: problem?.request_id ?? response.headers.get("X-Request-Id"),
    retryAfter: Number(response.headers.get("Retry-After")) || null,
  });
}
