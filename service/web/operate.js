// The operator's view: health, sources with their syncs, jobs with live progress, and what was set aside.

import { call, events } from "./api.js";
import { button, byId, el, visible, wide } from "./dom.js";
import { duration, nameIn, number, t, time } from "./language.js";

/** @import { Child } from "./dom.js" */
/** @import { Check, Job, Progress, Quarantined, Report, Run, Source } from "./types.js" */

const REFRESH_MS = 5_000;
const JOBS = 10;
const QUARANTINED = 20;
const ACTIVE = ["queued", "running"];
const FOCUSABLE = "button, input, [tabindex]";
const view = byId("operate-view");
const parts = {
  problem: el("section", { id: "operate-problem", "aria-live": "assertive" }),
  health: el("section", { id: "operate-health" }),
  sources: el("section", { id: "operate-sources" }),
  jobs: el("section", { id: "operate-jobs" }),
  quarantine: el("section", { id: "operate-quarantine" }),
};
let timer = 0;
/** @type {Map<number, AbortController>} */
let following = new Map(); // jobs under way, by id
let full = false;

export function start() {
  for (const part of Object.values(parts)) part.replaceChildren();
  delete parts.quarantine.dataset.more;
  view.replaceChildren(...Object.values(parts));
  stop();
  refresh();
  timer = window.setInterval(() => document.visibilityState === "visible" && refresh(), REFRESH_MS);
}

export function stop() {
  clearInterval(timer);
  for (const job of following.values()) job.abort();
  following = new Map();
}

async function refresh() {
  await Promise.all([drawHealth, drawSources, drawJobs, drawQuarantine].map((draw) => draw().catch(tell)));
}

function tell(/** @type {unknown} */ error) {
  const message = (error instanceof Error && error.message) || t("offline");
  parts.problem.replaceChildren(el("p", { class: "note bad" }, visible(message)));
}

async function drawHealth() {
  /** @type {{ checks: Check[] }} */
  const { checks } = await call("GET", "v1/health");
  update(parts.health, heading(t("health")), el("ul", { class: "checks" }, checks.map(checkItem)));
}

function checkItem(/** @type {Check} */ check) {
  const name = check.kind === "source" ? ` ${check.name}` : "";
  const state = check.ok ? `✓ ${t("healthy")}` : `✗ ${t("unhealthy")}`;
  return el(
    "li",
    { class: check.ok ? "good" : "bad", "data-kind": check.kind },
    el("strong", {}, nameIn("kinds", check.kind), name),
    " ",
    el("span", { class: "badge" }, state),
    " ",
    el("span", { class: "quiet small" }, visible(check.detail), ` · ${duration(check.seconds)}`),
  );
}

async function drawSources() {
  /** @type {{ sources: Source[] }} */
  const { sources } = await call("GET", "v1/sources");
  const columns = /** @type {const} */ ([
    ...["dataSource", "kind", "documents", "chunks", "lastSync"],
    ...["rate", "lag", "nextSync", "setAside", "actions"],
  ]);
  const setFull = (/** @type {Event & { target: HTMLInputElement }} */ event) => (full = event.target.checked);
  const redo = el("input", { type: "checkbox", id: "full", checked: full, onchange: setFull });
  update(
    parts.sources,
    heading(t("dataSources")),
    table(
      t("dataSources"),
      columns.map((name) => t(name)),
      sources.map(sourceLine),
    ),
    el(
      "div",
      { class: "buttons" },
      button("", () => sync({ full }), t("syncAll")),
      el("label", { class: "check" }, redo, " ", t("full")),
    ),
  );
}

function sourceLine(/** @type {Source} */ source) {
  const press = () => sync({ sources: [source.name], full });
  const cells = [
    source.kind,
    number(source.documents),
    number(source.chunks),
    lastSync(source.last_run),
    rate(source.last_run?.report),
    source.lag_s === null ? t("never") : duration(source.lag_s),
    source.next_run_at === null ? t("notScheduled") : time(source.next_run_at),
    String(source.quarantined),
    button("plain small sync", press, t("sync"), { "aria-label": t("labelled", t("sync"), source.name) }),
  ];
  const values = cells.map((value) => el("td", {}, value));
  return el("tr", { "data-source": source.name }, el("th", { scope: "row" }, source.name), values);
}

function lastSync(/** @type {Run | null} */ run) {
  if (!run) return t("never");
  const { report } = run;
  return [
    el("span", {}, `${nameIn("statuses", run.status)} · ${time(run.ended_at ?? run.started_at)}`),
    report && el("div", { class: "quiet small" }, t("report", report)),
    report?.error && el("div", { class: "bad small" }, visible(report.error)),
  ];
}

function rate(/** @type {Report | null | undefined} */ report) {
  if (!report?.seconds || !report.fetched) return "–";
  return `${number(report.fetched / report.seconds, 1)} ${t("perSecond")}`;
}

async function sync(/** @type {object} */ body) {
  parts.problem.replaceChildren();
  try {
    await call("POST", "v1/jobs", body);
  } catch (error) {
    tell(error);
  }
  await drawJobs().catch(tell);
}

async function drawJobs() {
  /** @type {{ jobs: Job[] }} */
  const { jobs } = await call("GET", `v1/jobs?limit=${JOBS}`);
  const list = el("ul", { class: "jobs" }, jobs.map(jobItem));
  update(parts.jobs, heading(t("jobs")), jobs.length ? list : el("p", { class: "quiet" }, t("noJobs")));
  for (const job of jobs) if (ACTIVE.includes(job.status) && !following.has(job.id)) follow(job.id);
}

/** Show a job's progress as the service tells it, and draw everything again at its end. */
async function follow(/** @type {number} */ id) {
  const ending = new AbortController();
  let ended = false; // a stream that breaks off waits for the next refresh, or a failing service would be flooded
  following.set(id, ending);
  try {
    for await (const [name, job] of events("GET", `v1/jobs/${id}/events`, undefined, ending.signal)) {
      if (name === "error") break;
      ended = name === "done";
      update(parts.jobs.querySelector(`[data-job="${id}"]`), ...jobItem(job).childNodes);
    }
  } catch {
    // the next refresh shows it
  } finally {
    following.delete(id);
  }
  if (ended && !ending.signal.aborted) await refresh();
}

function jobItem(/** @type {Job} */ job) {
  const active = ACTIVE.includes(job.status);
  const failures = job.reports.flatMap(({ source, error }) => (error ? [`${source}: ${error}`] : []));
  if (job.error) failures.unshift(job.error);
  const reports = job.reports.filter((report) => report.read !== undefined);
  return el(
    "li",
    { "data-job": job.id, "data-status": job.status },
    el("strong", {}, t("job", job.id)),
    ` ${job.sources.join(", ")} `,
    el("span", { class: "badge" }, active && job.cancelled ? t("cancelling") : nameIn("statuses", job.status)),
    " ",
    el("span", { class: "quiet small" }, time(job.created_at)),
    active && Object.entries(job.progress).map(([name, at]) => progress(name, at)),
    reports.map((report) => el("div", { class: "quiet small" }, reportOf(report))),
    failures.map((failure) => el("div", { class: "bad small" }, visible(failure))),
    job.reports.some((report) => report.mass_delete_refused) && allowButton(job),
    active && !job.cancelled && cancelButton(job),
  );
}

function reportOf(/** @type {Report} */ report) {
  const aside = report.quarantined ? `, ${t("setAside")} ${report.quarantined}` : "";
  return t("labelled", report.source, `${t("report", report)}${aside}`);
}

function allowButton(/** @type {Job} */ job) {
  return button("plain small", () => sync({ sources: job.sources, allow_mass_delete: true }), t("allowDelete"));
}

function cancelButton(/** @type {Job} */ job) {
  const press = () => call("POST", `v1/jobs/${job.id}/cancel`).catch(tell);
  const label = t("labelled", t("cancelJob"), t("job", job.id));
  return button("plain small cancel-job", press, t("cancelJob"), { "aria-label": label });
}

function progress(/** @type {string} */ name, /** @type {Progress} */ at) {
  const read = number(at.read ?? 0);
  const figures = [name, at.expected ? `${read} / ${number(at.expected)}` : read];
  if (at.documents_per_s) figures.push(`${number(at.documents_per_s, 1)} ${t("perSecond")}`);
  if (at.eta_s) figures.push(t("left", duration(at.eta_s)));
  const bar = el("progress", {
    max: at.expected || null,
    value: at.expected ? at.read : null,
    "aria-label": t("labelled", t("progress"), name),
  });
  return el("div", {}, bar, el("span", { class: "quiet small" }, ` ${figures.join(" · ")}`));
}

/**
 * @param {string} cursor
 * @param {Quarantined[]} before
 */
async function drawQuarantine(cursor = "", before = []) {
  if (!cursor && parts.quarantine.dataset.more) return; // further pages are open: they stay as they are
  const query = `limit=${QUARANTINED}&cursor=${encodeURIComponent(cursor)}`;
  /** @type {{ documents: Quarantined[], next_cursor: string | null }} */
  const page = await call("GET", `v1/quarantine?${query}`);
  const documents = [...before, ...page.documents];
  const more = () => {
    parts.quarantine.dataset.more = "1";
    drawQuarantine(page.next_cursor ?? "", documents).catch(tell);
  };
  const retry = (/** @type {string} */ source) => {
    delete parts.quarantine.dataset.more;
    sync({ sources: [source], retry: true });
  };
  const names = [...new Set(documents.map((each) => each.source))];
  const retries = names.map((name) => button("plain small retry-source", () => retry(name), t("retryAll", name)));
  const columns = [t("document"), t("reason"), t("since")];
  update(
    parts.quarantine,
    heading(t("quarantine")),
    el("p", { class: "quiet" }, t(documents.length ? "quarantineNote" : "noQuarantine")),
    documents.length > 0 && table(t("quarantine"), columns, documents.map(quarantineLine)),
    el("div", { class: "buttons" }, retries, page.next_cursor && button("plain small", more, t("more"))),
  );
}

function quarantineLine(/** @type {Quarantined} */ each) {
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, visible(`${each.source}: ${each.document_id}`)),
    el("td", {}, visible(each.reason)),
    el("td", {}, time(each.since)),
  );
}

const heading = (/** @type {string} */ text) => el("h2", {}, text);

/**
 * @param {string} label
 * @param {string[]} columns
 * @param {HTMLElement[]} lines
 */
function table(label, columns, lines) {
  const heads = columns.map((name) => el("th", { scope: "col" }, name));
  return wide(label, el("table", {}, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, lines)));
}

/**
 * Put in new content unless it is the same; what has the focus keeps it.
 * @param {Element | null} box
 * @param {Child[]} content
 */
function update(box, ...content) {
  if (!box) return;
  const made = el("div", {}, content);
  if (made.innerHTML === box.innerHTML) return;
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  /** @returns {NodeListOf<HTMLElement>} */
  const all = () => box.querySelectorAll(FOCUSABLE);
  const at = focused && box.contains(focused) ? [...all()].indexOf(focused) : -1;
  box.replaceChildren(...made.childNodes);
  if (at >= 0) all()[at]?.focus();
}
