// The operator's view: health, sources with their syncs, jobs with live progress, and what was set aside.

import { call, events } from "./api.js";
import { el, visible } from "./dom.js";
import { duration, number, t, time } from "./language.js";

const REFRESH_MS = 5_000;
const JOBS = 10, QUARANTINED = 20;
const ACTIVE = ["queued", "running"];
const view = document.getElementById("operate-view");
const parts = {};
let timer = null;
let following = new Map(); // jobs under way, by id
let full = false;

export function start() {
  view.replaceChildren(
    ...["problem", "health", "sources", "jobs", "quarantine"].map((name) => (parts[name] = el("section", { id: `operate-${name}`, "aria-live": name === "problem" ? "assertive" : null }))),
  );
  stop();
  refresh();
  timer = setInterval(() => document.visibilityState === "visible" && refresh(), REFRESH_MS);
}

export function stop() {
  clearInterval(timer);
  for (const job of following.values()) job.abort();
  following = new Map();
}

async function refresh() {
  await Promise.all([drawHealth, drawSources, drawJobs, drawQuarantine].map((draw) => draw().catch(tell)));
}

function tell(error) {
  parts.problem.replaceChildren(el("p", { class: "note bad" }, visible(error.message || t("offline"))));
}

async function drawHealth() {
  const { checks } = await call("GET", "v1/health");
  update(parts.health, heading(t("health")), el("ul", { class: "checks" }, checks.map((check) => el(
    "li", { class: check.ok ? "good" : "bad", "data-kind": check.kind },
    el("strong", {}, t("kinds")[check.kind], check.kind === "source" ? ` ${check.name}` : ""), " ",
    el("span", { class: "badge" }, `${check.ok ? "✓" : "✗"} ${t(check.ok ? "healthy" : "unhealthy")}`), " ",
    el("span", { class: "quiet small" }, visible(check.detail), ` · ${duration(check.seconds)}`),
  ))));
}

async function drawSources() {
  const { sources } = await call("GET", "v1/sources");
  const columns = ["panel", "kind", "documents", "chunks", "lastSync", "rate", "lag", "nextSync", "setAside", "actions"];
  const redo = el("label", { class: "check" }, el("input", { type: "checkbox", id: "full", checked: full, onchange: (event) => (full = event.target.checked) }), " ", t("full"));
  update(
    parts.sources,
    heading(t("sources")),
    el("div", { class: "wide", tabindex: 0, role: "group", "aria-label": t("sources") }, el(
      "table", {},
      el("thead", {}, el("tr", {}, columns.map((name) => el("th", { scope: "col" }, t(name))))),
      el("tbody", {}, sources.map((source) => el(
        "tr", { "data-source": source.name },
        el("th", { scope: "row" }, source.name),
        ...[source.kind, number(source.documents), number(source.chunks), lastSync(source.last_run), rate(source.last_run?.report), source.lag_s === null ? t("never") : duration(source.lag_s), source.next_run_at === null ? t("notScheduled") : time(source.next_run_at), String(source.quarantined)].map((value) => el("td", {}, value)),
        el("td", {}, el("button", { type: "button", class: "plain small sync", "aria-label": `${t("sync")}: ${source.name}`, onclick: () => sync({ sources: [source.name], full }) }, t("sync"))),
      ))),
    )),
    el("div", { class: "buttons" }, el("button", { type: "button", onclick: () => sync({ full }) }, t("syncAll")), redo),
  );
}

function lastSync(run) {
  if (!run) return t("never");
  const report = run.report;
  return [el("span", {}, `${stateOf(run.status)} · ${time(run.ended_at ?? run.started_at)}`), report ? el("div", { class: "quiet small" }, t("report", report)) : null, report?.error ? el("div", { class: "bad small" }, visible(report.error)) : null];
}

const rate = (report) => (report?.seconds && report.fetched ? `${number(report.fetched / report.seconds, 1)} ${t("perSecond")}` : "–");
const stateOf = (status) => t(status === "done" ? "status_done" : status) ?? status;

async function sync(body) {
  parts.problem.replaceChildren();
  try {
    await call("POST", "v1/jobs", body);
  } catch (error) {
    tell(error);
  }
  await drawJobs().catch(tell);
}

async function drawJobs() {
  const { jobs } = await call("GET", `v1/jobs?limit=${JOBS}`);
  const list = el("ul", { class: "jobs" }, jobs.map(jobItem));
  update(parts.jobs, heading(t("jobs")), jobs.length ? list : el("p", { class: "quiet" }, t("noJobs")));
  for (const job of jobs) if (ACTIVE.includes(job.status) && !following.has(job.id)) follow(job.id);
}

/** Show a job's progress as the service tells it, and everything anew at its end. */
async function follow(id) {
  const ending = new AbortController();
  following.set(id, ending);
  try {
    for await (const [name, job] of events("GET", `v1/jobs/${id}/events`, undefined, ending.signal)) {
      if (name === "error") break;
      update(parts.jobs.querySelector(`[data-job="${id}"]`), ...jobItem(job).childNodes);
    }
  } catch {
    // told anew by the next refresh
  } finally {
    following.delete(id);
  }
  if (!ending.signal.aborted) await refresh();
}

function jobItem(job) {
  const active = ACTIVE.includes(job.status);
  const failures = [job.error, ...job.reports.map((report) => (report.error ? `${report.source}: ${report.error}` : ""))].filter(Boolean);
  const massDelete = job.reports.some((report) => report.mass_delete_refused);
  const reports = job.reports.filter((report) => report.read !== undefined);
  return el(
    "li", { "data-job": job.id, "data-status": job.status },
    el("strong", {}, t("job", job.id)), ` ${job.sources.join(", ")} `,
    el("span", { class: "badge" }, active && job.cancelled ? t("cancelling") : stateOf(job.status)), " ",
    el("span", { class: "quiet small" }, time(job.created_at)),
    active ? Object.entries(job.progress).map(([name, at]) => progress(name, at)) : null,
    reports.map((report) => el("div", { class: "quiet small" }, `${report.source}: ${t("report", report)}${report.quarantined ? `, ${t("setAside")} ${report.quarantined}` : ""}`)),
    failures.map((failure) => el("div", { class: "bad small" }, visible(failure))),
    massDelete ? el("button", { type: "button", class: "plain small", onclick: () => sync({ sources: job.sources, allow_mass_delete: true }) }, t("allowDelete")) : null,
    active && !job.cancelled ? el("button", { type: "button", class: "plain small cancel-job", "aria-label": `${t("cancelJob")}: ${t("job", job.id)}`, onclick: () => call("POST", `v1/jobs/${job.id}/cancel`).catch(tell) }, t("cancelJob")) : null,
  );
}

function progress(name, at) {
  const told = [name, number(at.read ?? 0)];
  if (at.expected) told[1] += ` / ${number(at.expected)}`;
  if (at.documents_per_s) told.push(`${number(at.documents_per_s, 1)} ${t("perSecond")}`);
  if (at.eta_s) told.push(t("left", duration(at.eta_s)));
  return el("div", {}, el("progress", { max: at.expected || null, value: at.expected ? at.read : null, "aria-label": `${t("progress")}: ${name}` }), el("span", { class: "quiet small" }, ` ${told.join(" · ")}`));
}

async function drawQuarantine(cursor = "", before = []) {
  if (!cursor && parts.quarantine.dataset.more) return; // further pages are open: they stay as they are
  const page = await call("GET", `v1/quarantine?limit=${QUARANTINED}&cursor=${encodeURIComponent(cursor)}`);
  const documents = [...before, ...page.documents];
  const sources = [...new Set(documents.map((each) => each.source))];
  const more = () => {
    parts.quarantine.dataset.more = "1";
    drawQuarantine(page.next_cursor, documents).catch(tell);
  };
  const retry = (source) => {
    delete parts.quarantine.dataset.more;
    sync({ sources: [source], retry: true });
  };
  update(
    parts.quarantine,
    heading(t("quarantine")),
    el("p", { class: "quiet" }, documents.length ? t("quarantineNote") : t("noQuarantine")),
    documents.length ? el("div", { class: "wide", tabindex: 0, role: "group", "aria-label": t("quarantine") }, el(
      "table", {},
      el("thead", {}, el("tr", {}, ["document", "reason", "since"].map((name) => el("th", { scope: "col" }, t(name))))),
      el("tbody", {}, documents.map((each) => el("tr", {}, el("th", { scope: "row" }, visible(`${each.source}: ${each.document_id}`)), el("td", {}, visible(each.reason)), el("td", {}, time(each.since))))),
    )) : null,
    el("div", { class: "buttons" }, sources.map((source) => el("button", { type: "button", class: "plain small retry-source", onclick: () => retry(source) }, t("retryAll", source))), page.next_cursor ? el("button", { type: "button", class: "plain small", onclick: more }, t("more")) : null),
  );
}

const heading = (text) => el("h2", {}, text);

/** Put in new content unless it is the same; what has the focus keeps it. */
function update(box, ...content) {
  if (!box) return;
  const made = el("div", {}, content);
  if (made.innerHTML === box.innerHTML) return;
  const at = box.contains(document.activeElement) ? [...box.querySelectorAll("button, input, [tabindex]")].indexOf(document.activeElement) : -1;
  box.replaceChildren(...made.childNodes);
  if (at >= 0) box.querySelectorAll("button, input, [tabindex]")[at]?.focus();
}
