// Requests to the service this page came from. The browser sends the sign-in cookie by itself; it counts only with this
// header.

const OWN = { "X-Citewell-Page": "1" };
const HOME = new URL("../../", import.meta.url); // also below a path, behind a proxy
const SILENT_MS = 180_000; // a stream that has said nothing for so long is dead: the service ends requests before

/** A problem document, or a connection that failed (status 0). */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {string} detail
   */
  constructor(status, detail, { retryAfter = 0, requestId = "" } = {}) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
    this.requestId = requestId;
  }
}

/**
 * What a route answers; null where it answers nothing. Throws a Problem.
 * @param {string} method
 * @param {string} path
 * @param {object} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function call(method, path, body, signal) {
  const response = await request(method, path, body, signal);
  return response.status === 204 ? null : await response.json();
}

/**
 * The server-sent events of a route, as [name, data].
 * @param {string} method
 * @param {string} path
 * @param {object | undefined} body
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<[string, any]>}
 */
export async function* events(method, path, body, signal) {
  const silence = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const heard = () => {
    clearTimeout(timer);
    if (method === "POST") timer = setTimeout(() => silence.abort(), SILENT_MS);
  };
  heard();
  try {
    const response = await request(method, path, body, AbortSignal.any([signal, silence.signal]));
    if (!response.body) return;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const [name, data] = [field(block, "event"), field(block, "data")];
        if (name && data) yield [name, JSON.parse(data)];
      }
    }
  } catch (error) {
    if (silence.signal.aborted) throw new Problem(0, "");
    if (error instanceof TypeError) throw new Problem(0, ""); // the connection was cut
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** The value of a field of an event. Lines end at "\n" alone: JSON may hold U+2028, which a regular expression splits. */
function field(/** @type {string} */ block, /** @type {string} */ name) {
  const line = block.split("\n").find((each) => each.startsWith(`${name}: `));
  return line?.slice(name.length + 2);
}

/**
 * @param {string} method
 * @param {string} path
 * @param {object | undefined} body
 * @param {AbortSignal | undefined} signal
 */
async function request(method, path, body, signal) {
  const headers = body === undefined ? OWN : { ...OWN, "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(new URL(path, HOME), { method, headers, body: JSON.stringify(body), signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Problem(response.status, problem.detail || response.statusText, {
    retryAfter: Number(response.headers.get("Retry-After")) || 0,
    requestId: problem.request_id || "",
  });
}
