// The panel beside an answer: the very row or page that a citation stands on, and all passages that were found.

import { copy, el, link, safeUrl, utf16, visible } from "./dom.js";
import { number, t } from "./language.js";

const panel = document.getElementById("panel");
const body = document.getElementById("panel-body");
const title = document.getElementById("panel-title");
let opener = null;
let listed = null; // the passages that are listed

/** Show a passage of a turn, with a citation's quote marked, or those of all its citations when none is given. */
export function openPanel(turn, passage, citation = null) {
  if (panel.hidden) opener = document.activeElement;
  const own = (turn.answer?.citations ?? []).filter((each) => each.label === passage.label);
  const shown = detail(passage, citation ? [citation] : own, turn);
  const all = passagesOf(turn); // others once the answer is whole: only then is it known which are used
  if (!panel.hidden && listed === all) body.firstElementChild.replaceWith(shown);
  else body.replaceChildren(shown, ...lists(turn));
  listed = all;
  for (const choice of body.querySelectorAll(".passage-choice")) {
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
  if (opener?.isConnected) opener.focus();
  return true;
}

/** All passages of a turn: those before the model, or, after a refusal, the nearest. */
export const passagesOf = (turn) => (turn.answer?.passages.length ? turn.answer.passages : turn.passages.length ? turn.passages : turn.nearest ?? []);

/** Where a passage or citation stands, in a few words. */
export function placeOf(at) {
  return [at.source, keyOf(at), headingOf(at), at.page === null ? "" : `${t("page")} ${at.page}`].filter(Boolean).join(" · ");
}

/** The heading that a passage of a document stands under: several of one document are told apart by it. */
function headingOf(at) {
  const heading = at.kind === "file" ? (at.context ?? "").split(" > ").at(-1) : "";
  return heading === at.title ? "" : heading;
}

const keyOf = (at) => Object.entries(at.primary_key ?? {}).map(([name, value]) => `${name} = ${value}`).join(", ");

function detail(passage, citations, turn) {
  const quotes = citations.map((citation) => [
    utf16(passage.text, citation.start - passage.start),
    utf16(passage.text, citation.end - passage.start),
  ]);
  const url = safeUrl(passage.uri);
  const facts = [
    [t("panel"), passage.source],
    [t("key"), keyOf(passage)],
    [t("page"), passage.page],
    [t("pointer"), citations.map((citation) => citation.pointer).filter(Boolean).join(", ")],
    [t("label"), passage.label],
    [t("version"), passage.version],
  ];
  const place = url && url.protocol !== "mailto:" ? link(url, t("openLink")) : [el("span", { class: "uri" }, visible(passage.uri)), " ", copyButton(passage.uri)];
  return el(
    "article", { class: "passage-detail" },
    el("h3", {}, el("bdi", {}, visible(passage.title))),
    passage.context && passage.kind !== "row" ? el("p", { class: "quiet small" }, el("bdi", {}, visible(passage.context))) : null,
    passage.kind === "row" ? rowTable(passage, turn.answer?.text ?? "", quotes.length > 0) : pageText(passage.text, quotes),
    passage.cut ? el("p", { class: "quiet small" }, t("cutPassage")) : null,
    el("dl", {}, facts.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => [el("dt", {}, name), el("dd", {}, visible(String(value)))]).flat(), el("dt", {}, t("place")), el("dd", {}, place)),
  );
}

function copyButton(text) {
  const button = el("button", { type: "button", class: "plain small" }, t("copyPlace"));
  button.addEventListener("click", () => copy(text).then(() => (button.textContent = t("copied")), () => (button.textContent = t("notCopied"))));
  return button;
}

function pageText(text, quotes) {
  const box = el("div", { class: "passage", dir: "auto", tabindex: 0, role: "group", "aria-label": t("passage") });
  let at = 0;
  for (const [from, to] of quotes.sort((one, other) => one[0] - other[0])) {
    if (to <= at) continue;
    box.append(...visible(text.slice(at, Math.max(at, from))), el("mark", {}, visible(text.slice(Math.max(at, from), to))));
    at = to;
  }
  box.append(...visible(text.slice(at)));
  return box;
}

/** A row's fields, one a line; a value may go over several. What the answer says of it is marked, or all of it. */
function rowTable(passage, answer, cited) {
  const fields = [];
  let caption = "";
  for (const [at, line] of passage.text.split("\n").entries()) {
    const field = /^([^\s:][^:]{0,79}): (.*)$/.exec(line) ?? /^([^\s:][^:]{0,79}):$/.exec(line);
    if (at === 0 && passage.start === 0 && !field) caption = line;
    else if (field) fields.push([field[1], field[2] ?? ""]);
    else if (fields.length) fields.at(-1)[1] += `\n${line}`;
    else fields.push(["", line]);
  }
  const said = fields.map(([, value]) => cited && saidIn(answer, value));
  const all = cited && !said.includes(true);
  const keys = Object.keys(passage.primary_key ?? {}).map(plain);
  return el(
    "div", { class: "wide", tabindex: 0, role: "group", "aria-label": t("row") },
    el(
      "table", { class: "row" },
      el("caption", {}, visible(caption || t("row"))),
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, t("field")), el("th", { scope: "col" }, t("value")))),
      el("tbody", {}, fields.map(([name, value], at) => el(
        "tr", {},
        el("th", { scope: "row" }, visible(name), keys.includes(plain(name)) ? [" ", el("span", { class: "badge" }, t("keyField"))] : null),
        el("td", { dir: "auto" }, all || said[at] ? el("mark", {}, visible(value)) : visible(value)),
      ))),
    ),
  );
}

const plain = (name) => name.replace(/\(.*\)|[^\p{L}\p{N}]/gu, "").toLowerCase();

function saidIn(answer, value) {
  const core = value.replace(/ \([^()]*\)$/, "").trim();
  return core.length > 1 && answer.includes(core);
}

function lists(turn) {
  const cited = new Set((turn.answer?.citations ?? []).map((citation) => citation.label));
  const all = passagesOf(turn);
  const used = all.filter((passage) => cited.has(passage.label));
  const unused = all.filter((passage) => !cited.has(passage.label));
  return [[t("used", used.length), used], [t("unused", unused.length), unused]].map(([heading, passages]) => el(
    "section", {},
    el("h3", {}, heading),
    el("ul", { class: "passages" }, passages.map((passage) => el(
      "li", {},
      el(
        "button", { type: "button", class: "passage-choice", "data-at": all.indexOf(passage), onclick: () => openPanel(turn, passage) },
        el("span", { class: "choice-title" }, turn.numbers?.[passage.label] ? el("span", { class: "badge" }, String(turn.numbers[passage.label])) : null, el("bdi", {}, visible(passage.title))),
        el("span", { class: "quiet small" }, el("bdi", {}, visible(placeOf(passage)))),
        el("span", { class: "quiet small" }, scores(passage)),
      ),
    ))),
  ));
}

function scores(passage) {
  const own = Object.entries(passage.scores).map(([name, value]) => `${name} ${number(value, 3)}`);
  return [`${t("score")} ${number(passage.score, 3)}`, ...own].join(" · ");
}
