import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { event } from "./fake_answers.js";
import { openPage } from "./fake_page.js";

const root = openPage("operate-view");
const [view] = root.childNodes;
const { start, stop } = await import("../../service/web/operate.js");
const find = (selector) => view.querySelector(selector);
const part = (name) => find(`#operate-${name}`);
const texts = (part, selector) => part.querySelectorAll(selector).map((each) => each.textContent);
let routes;
let posted;

const REPORT = { source: "docs", read: 9, fetched: 4, added: 1, updated: 2, unchanged: 6, deleted: 0, seconds: 2 };
const job = (more) => ({
  id: 7,
  status: "done",
  sources: ["docs"],
  progress: {},
  reports: [],
  error: null,
  cancelled: false,
  created_at: 1_700_000_000,
  ...more,
});
const source = (more) => ({
  name: "docs",
  kind: "files",
  documents: 1234,
  chunks: 5,
  quarantined: 2,
  last_run: null,
  lag_s: null,
  next_run_at: null,
  ...more,
});

beforeEach(() => {
  posted = [];
  routes = {
    "v1/health": { checks: [] },
    "v1/sources": { sources: [] },
    "v1/jobs": { jobs: [] },
    "v1/quarantine": { documents: [], next_cursor: null },
  };
  globalThis.fetch = async (url, { method, body }) => {
    const path = url.href.replace(/.*\/(v1\/)/, "$1");
    if (method === "POST") posted.push([path, body && JSON.parse(body)]);
    const given = routes[path] ?? routes[path.split("?")[0]];
    if (given instanceof Response) return given.clone();
    return typeof given === "string" ? new Response(given) : Response.json(given ?? {});
  };
});

afterEach(stop);

async function shown() {
  start();
  await settled();
}

const settled = () => new Promise((next) => setTimeout(next, 5));

test("each part says whether it responds, a source by its name", async () => {
  const checks = [
    { name: "state", kind: "state", ok: true, detail: "", seconds: 0.002 },
    { name: "shop", kind: "source", ok: false, detail: "refused", seconds: 2 },
  ];
  routes["v1/health"] = { checks };
  await shown();
  const expected = ["state store ✓ responding  · 2 ms", "source shop ✗ failing refused · 2 s"];
  assert.deepEqual(texts(part("health"), "li"), expected);
});

test("a source that was never read says so, and has no rate and no next sync", async () => {
  routes["v1/sources"] = { sources: [source()] };
  await shown();
  const expected = ["files", "1,234", "5", "never", "–", "never", "not scheduled", "2", "Sync"];
  assert.deepEqual(texts(part("sources"), "td"), expected);
});

test("a source's last run is shown with its figures, rate and error", async () => {
  const last_run = { status: "partial", started_at: 1, ended_at: 2, report: { ...REPORT, error: "No table." } };
  routes["v1/sources"] = { sources: [source({ last_run, lag_s: 90 })] };
  await shown();
  const [, , , last, rate, lag] = texts(part("sources"), "td");
  assert.match(last, /^partly done · .*4 read, 1 added, 2 updated, 6 unchanged, 0 deletedNo table\.$/);
  assert.deepEqual([rate, lag], ["2 documents/s", "1 min 30 s"]);
});

test("one source is synced, or all, and all again where that is ticked", async () => {
  routes["v1/sources"] = { sources: [source()] };
  await shown();
  await find(".sync").click();
  const [all] = part("sources").querySelector(".buttons").querySelectorAll("button");
  find("#full").checked = true;
  await find("#full").fire("change");
  await all.click();
  find("#full").checked = false;
  await find("#full").fire("change");
  assert.deepEqual(posted, [["v1/jobs", { sources: ["docs"], full: false }], ["v1/jobs", { full: true }]]); // prettier-ignore
});

test("a sync that cannot be started says why", async () => {
  await shown();
  routes["v1/jobs"] = Response.json({ detail: "Job 7 already has it." }, { status: 409 });
  await part("sources").querySelector("button").click();
  assert.equal(part("problem").textContent, "Job 7 already has it.");
});

test("a sync shows what was done and what failed", async () => {
  const reports = [
    { ...REPORT, quarantined: 3 },
    { source: "shop", error: "No database." },
  ];
  routes["v1/jobs"] = { jobs: [job({ status: "failed", reports, error: "Exit code 1." })] };
  await shown();
  const lines = ["docs: 4 read, 1 added, 2 updated, 6 unchanged, 0 deleted, Set aside 3", "Exit code 1.", "shop: No database."]; // prettier-ignore
  assert.deepEqual(texts(part("jobs"), "div"), lines);
  assert.equal(part("jobs").querySelector(".badge").textContent, "failed");
});

test("deletions that were refused can be allowed, and other failures cannot", async () => {
  const error = "Nothing of it was deleted.";
  routes["v1/jobs"] = { jobs: [job({ reports: [{ ...REPORT, error, mass_delete_refused: true }] })] };
  await shown();
  await part("jobs").querySelector("button").click();
  assert.deepEqual(posted, [["v1/jobs", { sources: ["docs"], allow_mass_delete: true }]]);
  routes["v1/jobs"] = { jobs: [job({ reports: [{ ...REPORT, error: "run --allow-mass-delete" }] })] };
  await shown();
  assert.equal(part("jobs").querySelector("button"), null);
});

test("a sync under way shows its progress, and can be cancelled", async () => {
  const docs = { read: 10, expected: 1200, documents_per_s: 3.25, eta_s: 90 };
  routes["v1/jobs"] = { jobs: [job({ status: "running", progress: { docs, shop: {} } })] };
  await shown();
  const expected = [" docs · 10 / 1,200 · 3.3 documents/s · 1 min 30 s left", " shop · 0"];
  assert.deepEqual(texts(part("jobs"), "div"), expected);
  const bars = part("jobs").querySelectorAll("progress").map((bar) => [bar.getAttribute("max"), bar.getAttribute("value")]); // prettier-ignore
  assert.deepEqual(bars, [["1200", "10"], [null, null]]); // prettier-ignore
  await find(".cancel-job").click();
  assert.deepEqual(posted, [["v1/jobs/7/cancel", undefined]]);
});

test("a sync that is being cancelled cannot be cancelled again", async () => {
  routes["v1/jobs"] = { jobs: [job({ status: "running", cancelled: true })] };
  await shown();
  assert.deepEqual([part("jobs").querySelector(".badge").textContent, find(".cancel-job")], ["stopping after this batch", null]); // prettier-ignore
});

test("a sync under way is followed to its end, and then all is drawn again", async () => {
  const running = job({ status: "running" });
  routes["v1/jobs"] = { jobs: [running] };
  routes["v1/jobs/7/events"] =
    event("progress", { ...running, progress: { docs: { read: 5 } } }) + event("done", job());
  start();
  routes["v1/sources"] = { sources: [source()] };
  routes["v1/jobs"] = { jobs: [job()] };
  await settled();
  assert.equal(texts(part("sources"), "td")[1], "1,234");
});

test("a sync whose stream breaks off is not asked for again at once", async () => {
  let asked = 0;
  const answers = globalThis.fetch;
  globalThis.fetch = (url, options) => {
    asked += url.pathname.endsWith("/events");
    return answers(url, options);
  };
  routes["v1/jobs"] = { jobs: [job({ status: "running" })] };
  await shown();
  assert.equal(asked, 1);
});

test("no syncs, and nothing set aside, are said so", async () => {
  await shown();
  assert.deepEqual([texts(part("jobs"), "p"), texts(part("quarantine"), "p")], [["None yet."], ["None."]]);
});

const aside = (id, name = "docs") => ({ source: name, document_id: id, reason: "damaged", since: 1_700_000_000 });

test("documents that were set aside are listed by pages, and retried by source", async () => {
  routes["v1/quarantine"] = { documents: [aside("a"), aside("b", "shop")], next_cursor: "next" };
  routes["v1/quarantine?limit=20&cursor=next"] = { documents: [aside("c")], next_cursor: null };
  await shown();
  const [retryDocs, , more] = part("quarantine").querySelectorAll("button");
  assert.deepEqual(texts(part("quarantine"), "button"), ["Retry docs", "Retry shop", "More"]);
  await more.click();
  await settled();
  const names = part("quarantine").querySelectorAll("th").slice(3).map((each) => each.textContent); // prettier-ignore
  assert.deepEqual(names, ["docs: a", "shop: b", "docs: c"]);
  await retryDocs.click();
  assert.deepEqual(posted, [["v1/jobs", { sources: ["docs"], retry: true }]]);
});

test("a service that cannot be reached is said once, above the rest", async () => {
  globalThis.fetch = async () => Promise.reject(new TypeError("failed"));
  await shown();
  assert.equal(texts(part("problem"), "p").length, 1);
  assert.ok(part("problem").textContent.startsWith("The service could not be reached"));
});
