// The panel beside an answer: the very row or page that a citation stands on, and all passages that were found.

import { button, byId, copy, el, link, safeUrl, utf16, visible, wide } from "./dom.js";
import { number, t } from "./language.js";

/** @import { Citation, Passage, Turn } from "./types.js" */

const panel = byId("panel");
const body = byId("panel-body");
const title = byId("panel-title");
/** @type {Element | null} */
let opener = null;
/** @type {Passage[] | null} */
let listed = null; // the passages that are listed

/**
 * Show a passage of a turn, with a citation's quote marked, or those of all its citations when none is given.
 * @param {Turn} turn
 * @param {Passage} passage
 * @param {Citation | null} citation
 */
export function openPanel(turn, passage, citation = null) {
  if (panel.hidden) opener = document.activeElement;
  const own = (turn.answer?.citations ?? []).filter((each) => each.label === passage.label);
  const shown = detail(passage, citation ? [citation] : own, turn);
  const all = passagesOf(turn); // others once the answer is complete: only then is it known which are used
  if (!panel.hidden && listed === all) body.firstElementChild?.replaceWith(shown);
  else body.replaceChildren(shown, ...lists(turn));
  listed = all;
  /** @type {NodeListOf<HTMLElement>} */
  const choices = body.querySelectorAll(".passage-choice");
  for (const choice of choices) {
    if (Number(choice.dataset.at) === all.indexOf(passage)) choice.setAttribute("aria-current", "true");
    else choice.removeAttribute("aria-current");
  }
  panel.hidden = false;
  document.body.classList.add("with-panel");
  panel.scrollTop = 0;
  title.focus({ preventScroll: true });
}

export function closePanel() {
  if (panel.hidden) return false;
  panel.hidden = true;
  document.body.classList.remove("with-panel");
  if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
  return true;
}

/** All passages of a turn: those before the model, or, after a refusal, the nearest. */
export function passagesOf(/** @type {Turn} */ turn) {
  if (turn.answer?.passages.length) return turn.answer.passages;
  return turn.passages.length ? turn.passages : (turn.nearest ?? []);
}

/** Where a passage stands, in a few words. */
export function placeOf(/** @type {Passage} */ at) {
  const page = at.page === null ? "" : `${t("page")} ${at.page}`;
  return [at.source, keyOf(at), headingOf(at), page].filter(Boolean).join(" · ");
}

/** The heading that a passage of a document stands under: several of one document are told apart by it. */
function headingOf(/** @type {Passage} */ at) {
  const heading = at.kind === "file" ? (at.context ?? "").split(" > ").at(-1) : "";
  return heading === at.title ? "" : heading;
}

function keyOf(/** @type {Passage} */ at) {
  const parts = Object.entries(at.primary_key ?? {}).map(([name, value]) => `${name} = ${value}`);
  return parts.join(", ");
}

/**
 * @param {Passage} passage
 * @param {Citation[]} citations
 * @param {Turn} turn
 */
function detail(passage, citations, turn) {
  const quotes = citations.map((citation) => [
    utf16(passage.text, citation.start - passage.start),
    utf16(passage.text, citation.end - passage.start),
  ]);
  const under = passage.kind !== "row" && passage.context;
  const text =
    passage.kind === "row"
      ? rowTable(passage, turn.answer?.text ?? "", quotes.length > 0)
      : pageText(passage.text, quotes);
  return el(
    "article",
    { class: "passage-detail" },
    el("h3", {}, el("bdi", {}, visible(passage.title))),
    under && el("p", { class: "quiet small" }, el("bdi", {}, visible(under))),
    text,
    passage.cut && el("p", { class: "quiet small" }, t("cutPassage")),
    facts(passage, citations),
  );
}

/** What is known of a passage beside its text. */
function facts(/** @type {Passage} */ passage, /** @type {Citation[]} */ citations) {
  const url = safeUrl(passage.uri);
  const place =
    url && url.protocol !== "mailto:"
      ? link(url, t("openLink"))
      : [el("span", { class: "uri" }, visible(passage.uri)), " ", copyButton(passage.uri)];
  /** @type {[string, string | number | null | undefined][]} */
  const known = [
    [t("dataSource"), passage.source],
    [t("key"), keyOf(passage)],
    [t("page"), passage.page],
    [t("pointer"), citations.flatMap((citation) => citation.pointer || []).join(", ")],
    [t("label"), passage.label],
    [t("version"), passage.version],
  ];
  const shown = known.filter(([, value]) => value !== null && value !== undefined && value !== "");
  const lines = shown.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, visible(String(value)))]);
  return el("dl", {}, lines, el("dt", {}, t("place")), el("dd", {}, place));
}

function copyButton(/** @type {string} */ text) {
  const say = (/** @type {"copied" | "notCopied"} */ name) => (made.textContent = t(name));
  const press = () =>
    copy(text).then(
      () => say("copied"),
      () => say("notCopied"),
    );
  const made = button("plain small", press, t("copyPlace"));
  return made;
}

function pageText(/** @type {string} */ text, /** @type {number[][]} */ quotes) {
  const scrolls = { class: "passage", dir: "auto", tabindex: 0, role: "group", "aria-label": t("passage") };
  const box = el("div", scrolls);
  let at = 0;
  for (const [from, to] of quotes.sort((one, other) => one[0] - other[0])) {
    if (to <= at) continue;
    const start = Math.max(at, from);
    box.append(...visible(text.slice(at, start)), el("mark", {}, visible(text.slice(start, to))));
    at = to;
  }
  box.append(...visible(text.slice(at)));
  return box;
}

/**
 * A row's fields as a table. What the answer says of it is marked, or all of it.
 * @param {Passage} passage
 * @param {string} answer
 * @param {boolean} cited
 */
function rowTable(passage, answer, cited) {
  const { caption, fields } = rowOf(passage);
  const said = fields.map(([, value]) => cited && saidIn(answer, value));
  const all = cited && !said.includes(true);
  const keys = Object.keys(passage.primary_key ?? {}).map(plain);
  const lines = fields.map(([name, value], at) => {
    const isKey = keys.includes(plain(name));
    const shown = all || said[at] ? el("mark", {}, visible(value)) : visible(value);
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, visible(name), isKey && [" ", el("span", { class: "badge" }, t("keyField"))]),
      el("td", { dir: "auto" }, shown),
    );
  });
  const heads = [t("field"), t("value")].map((name) => el("th", { scope: "col" }, name));
  const table = el(
    "table",
    { class: "row" },
    el("caption", {}, visible(caption || t("row"))),
    el("thead", {}, el("tr", {}, heads)),
    el("tbody", {}, lines),
  );
  return wide(t("row"), table);
}

/**
 * A row's text as its fields, one a line; a value may go over several lines.
 * @returns {{ caption: string, fields: [string, string][] }}
 */
export function rowOf(/** @type {Pick<Passage, "text" | "start">} */ passage) {
  /** @type {[string, string][]} */
  const fields = [];
  let caption = "";
  for (const [at, line] of passage.text.split("\n").entries()) {
    const field = /^([^\s:][^:]{0,79}): (.*)$/.exec(line) ?? /^([^\s:][^:]{0,79}):$/.exec(line);
    const last = fields.at(-1);
    if (at === 0 && passage.start === 0 && !field) caption = line;
    else if (field) fields.push([field[1], field[2] ?? ""]);
    else if (last) last[1] += `\n${line}`;
    else fields.push(["", line]);
  }
  return { caption, fields };
}

const plain = (/** @type {string} */ name) => name.replace(/\(.*\)|[^\p{L}\p{N}]/gu, "").toLowerCase();

function saidIn(/** @type {string} */ answer, /** @type {string} */ value) {
  const core = value.replace(/ \([^()]*\)$/, "").trim();
  return core.length > 1 && answer.includes(core);
}

/** All passages of a turn to choose from: those that are cited, and the others. */
function lists(/** @type {Turn} */ turn) {
  const cited = new Set((turn.answer?.citations ?? []).map((citation) => citation.label));
  const all = passagesOf(turn);
  const isUsed = (/** @type {Passage} */ passage) => cited.has(passage.label ?? "");
  const used = all.filter(isUsed);
  const unused = all.filter((passage) => !isUsed(passage));
  const list = (/** @type {string} */ heading, /** @type {Passage[]} */ passages) => {
    const items = passages.map((passage) => el("li", {}, choiceOf(turn, passage, all.indexOf(passage))));
    return el("section", {}, el("h3", {}, heading), el("ul", { class: "passages" }, items));
  };
  return [list(t("used", used.length), used), list(t("unused", unused.length), unused)];
}

function choiceOf(/** @type {Turn} */ turn, /** @type {Passage} */ passage, /** @type {number} */ at) {
  const own = turn.numbers[passage.label ?? ""];
  const title = [
    own !== undefined && el("span", { class: "badge" }, String(own)),
    el("bdi", {}, visible(passage.title)),
  ];
  const content = [
    el("span", { class: "choice-title" }, title),
    el("span", { class: "quiet small" }, el("bdi", {}, visible(placeOf(passage)))),
    el("span", { class: "quiet small" }, scores(passage)),
  ];
  return button("passage-choice", () => openPanel(turn, passage), content, { "data-at": at });
}

function scores(/** @type {Passage} */ passage) {
  const own = Object.entries(passage.scores).map(([name, value]) => `${name} ${number(value, 3)}`);
  return [`${t("score")} ${number(passage.score, 3)}`, ...own].join(" · ");
}
