import assert from "node:assert/strict";
import { mock, test } from "node:test";

const { call, events, Problem } = await import("../../service/web/api.js");
const forever = new AbortController().signal;

/** The service: answers every request so, and keeps what it was asked. */
function service(answer) {
  const asked = [];
  globalThis.fetch = async (url, options) => {
    asked.push({ url, ...options });
    return answer(options);
  };
  return asked;
}

/** A response whose body comes in these pieces; then `end` happens to it. */
function streamed(pieces, end = (controller) => controller.close()) {
  const bytes = pieces.map((piece) => (typeof piece === "string" ? new TextEncoder().encode(piece) : piece));
  return new Response(
    new ReadableStream({
      start(controller) {
        for (const piece of bytes) controller.enqueue(piece);
        end(controller);
      },
    }),
  );
}

async function heard(...pieces) {
  service(() => streamed(pieces));
  return collect(events("POST", "v1/ask", {}, forever));
}

async function collect(stream) {
  const all = [];
  for await (const each of stream) all.push(each);
  return all;
}

async function problemOf(promise) {
  const error = await promise.catch((thrown) => thrown);
  assert.ok(error instanceof Problem, String(error));
  return { status: error.status, detail: error.message, retryAfter: error.retryAfter, requestId: error.requestId };
}

test("a request carries the page's header, and a body as JSON", async () => {
  const asked = service(() => Response.json({ yes: 1 }));
  assert.deepEqual(await call("POST", "v1/session", { key: "k" }), { yes: 1 });
  assert.deepEqual(asked[0].headers, { "X-Citewell-Page": "1", "Content-Type": "application/json" });
  assert.deepEqual([asked[0].method, asked[0].body], ["POST", '{"key":"k"}']);
});

test("a request without a body has none, and asks below the page's own path", async () => {
  const asked = service(() => Response.json({}));
  await call("GET", "v1/me");
  assert.deepEqual([asked[0].body, asked[0].headers], [undefined, { "X-Citewell-Page": "1" }]);
  assert.ok(asked[0].url.href.endsWith("/v1/me") && !asked[0].url.href.includes("/web/"));
});

test("an answer without content is null", async () => {
  service(() => new Response(null, { status: 204 }));
  assert.equal(await call("DELETE", "v1/session"), null);
});

test("a problem keeps its status, text, wait and request ID", async () => {
  const headers = { "Retry-After": "3" };
  service(() => Response.json({ detail: "Too many.", request_id: "r1" }, { status: 429, headers }));
  const expected = { status: 429, detail: "Too many.", retryAfter: 3, requestId: "r1" };
  assert.deepEqual(await problemOf(call("GET", "v1/me")), expected);
});

test("a problem that a proxy made has the status's own text", async () => {
  service(() => new Response("<html>", { status: 502, statusText: "Bad Gateway" }));
  const expected = { status: 502, detail: "Bad Gateway", retryAfter: 0, requestId: "" };
  assert.deepEqual(await problemOf(call("GET", "v1/me")), expected);
});

test("a service that cannot be reached is a problem of status 0", async () => {
  service(() => {
    throw new TypeError("fetch failed");
  });
  assert.equal((await problemOf(call("GET", "v1/me"))).status, 0);
});

test("a request that the reader stopped is not a problem", async () => {
  service(() => {
    throw new DOMException("stopped", "AbortError");
  });
  await assert.rejects(call("GET", "v1/me", undefined, AbortSignal.abort()), { name: "AbortError" });
});

test("events come with their name and data", async () => {
  const text = 'event: delta\ndata: {"text":"a"}\n\nevent: done\ndata: {"n":1}\n\n';
  assert.deepEqual(await heard(text), [
    ["delta", { text: "a" }],
    ["done", { n: 1 }],
  ]);
});

test("events are the same wherever the stream is cut into pieces", async () => {
  const bytes = new TextEncoder().encode('event: delta\ndata: {"text":"年 😀"}\n\nevent: done\ndata: {}\n\n');
  const expected = [
    ["delta", { text: "年 😀" }],
    ["done", {}],
  ];
  for (let at = 1; at < bytes.length; at++) {
    assert.deepEqual(await heard(bytes.slice(0, at), bytes.slice(at)), expected);
  }
});

test("a line separator inside the data does not end it", async () => {
  const text = "one\u2028two\u2029three\u0085";
  assert.deepEqual(await heard(`event: delta\ndata: {"text":"${text}"}\n\n`), [["delta", { text }]]);
});

test("comments, and an event that has not ended, are left out", async () => {
  assert.deepEqual(await heard(": ping\n\nevent: delta\n\nevent: done\ndata: {"), []);
});

test("a connection that is cut is a problem of status 0, after what has come", async () => {
  const cut = (controller) => controller.error(new TypeError("terminated"));
  service(() => streamed([], cut));
  assert.equal((await problemOf(collect(events("POST", "v1/ask", {}, forever)))).status, 0);
});

test("data that is not JSON is an error of its own", async () => {
  await assert.rejects(heard("event: delta\ndata: {oops\n\n"), SyntaxError);
});

test("a stream that says nothing for three minutes is given up", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  service(({ signal }) => streamed([], (body) => signal.addEventListener("abort", () => body.error(signal.reason))));
  const problem = problemOf(collect(events("POST", "v1/ask", {}, forever)));
  await new Promise(setImmediate);
  context.mock.timers.tick(179_999);
  assert.equal(await Promise.race([problem, new Promise((done) => setImmediate(done, "waits"))]), "waits");
  context.mock.timers.tick(1);
  assert.equal((await problem).status, 0);
});

test("a job's events may be silent for as long as they like", async (context) => {
  const later = context.mock.method(globalThis, "setTimeout", mock.fn());
  service(() => streamed(["event: done\ndata: {}\n\n"]));
  await collect(events("GET", "v1/jobs/1/events", undefined, forever));
  assert.equal(later.mock.callCount(), 0);
});

test("stopping ends the stream with the stop, not with a problem", async () => {
  const stop = new AbortController();
  service(({ signal }) => streamed([], (body) => signal.addEventListener("abort", () => body.error(signal.reason))));
  const ended = collect(events("POST", "v1/ask", {}, stop.signal));
  await new Promise(setImmediate);
  stop.abort();
  await assert.rejects(ended, { name: "AbortError" });
});
