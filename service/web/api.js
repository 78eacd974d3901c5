// Requests to the service this page came from. The sign-in cookie goes along by itself, and counts with this header only.

const OWN = { "X-Citewell-Page": "1" };
const HOME = new URL("../../", import.meta.url); // also below a path, behind a proxy
const SILENT_MS = 180_000; // a stream that has said nothing for so long is dead: the service ends requests before

/** A problem document, or a connection that failed (status 0). */
export class Problem extends Error {
  constructor(status, detail, { retryAfter = 0, requestId = "" } = {}) {
    super(detail);
    Object.assign(this, { status, retryAfter, requestId });
  }
}

export async function call(method, path, body, signal) {
  const response = await request(method, path, body, signal);
  return response.status === 204 ? null : await response.json();
}

/** The server-sent events of a route, as [name, data]. */
export async function* events(method, path, body, signal) {
  const silence = new AbortController();
  let timer;
  const heard = () => {
    clearTimeout(timer);
    if (method === "POST") timer = setTimeout(() => silence.abort(), SILENT_MS);
  };
  heard();
  try {
    const response = await request(method, path, body, AbortSignal.any([signal, silence.signal]));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const name = /^event: (.*)$/m.exec(block)?.[1];
        const data = /^data: (.*)$/m.exec(block)?.[1];
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

async function request(method, path, body, signal) {
  const headers = body === undefined ? OWN : { ...OWN, "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(new URL(path, HOME), { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "");
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new Problem(response.status, told.detail || response.statusText, {
    retryAfter: Number(response.headers.get("Retry-After")) || 0,
    requestId: told.request_id || "",
  });
}
