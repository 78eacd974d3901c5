// One question with its answer: how it looks while it streams, when it is done, refused, quoted, stopped or failed.

import { copy, el, visible } from "./dom.js";
import { duration, languageName, number, t, time } from "./language.js";
import { LABELS, LiveMarkdown, plainText } from "./markdown.js";
import { openPanel, passagesOf, placeOf } from "./panel.js";

const RUNNING = ["searching", "answering"];
const CALM = 4; // drawing takes at most one part in so many of the time

/** A turn as it begins. All of it is plain data, so that the history can keep it. */
export function newTurn(question, options) {
  return { question, options, at: Date.now() / 1000, state: "searching", text: "", passages: [], numbers: {}, answer: null, problem: null, firstToken_s: null, total_s: null };
}

const isRunning = (turn) => RUNNING.includes(turn.state);

/** A turn's element. actions: retry() and edit(question). */
export class TurnView {
  #live = null;
  #shown = "";
  #all = null;
  #byLabel = null;
  #due = 0;
  #asked = false;

  constructor(turn, actions) {
    this.turn = turn;
    this.actions = actions;
    this.state = el("span", { class: "badge state" });
    this.answer = el("div", { class: "answer", dir: "auto" });
    this.below = el("div", { class: "below" });
    this.head = el("div", { class: "asked" });
    this.element = el("section", { class: "turn" }, this.head, el("h3", { class: "answer-head" }, el("span", { class: "off-screen" }, t("answer")), this.state), this.answer, this.below);
    this.draw();
  }

  /** Show all of the turn as it is now. */
  draw() {
    const { turn } = this;
    this.element.dataset.state = turn.state;
    this.element.setAttribute("aria-busy", String(isRunning(turn)));
    this.state.textContent = turn.answer && !turn.answer.usage.completion_tokens && turn.state === "done" ? t("quoted") : t(turn.state);
    this.#drawQuestion();
    if (isRunning(turn)) {
      this.drawText();
    } else {
      this.#drawWhole();
      this.#placeCitations();
    }
    this.below.replaceChildren(...(isRunning(turn) ? [] : this.#below()));
  }

  /** Show text that has come, at the next frame that has time for it. */
  drawSoon() {
    if (this.#asked) return;
    this.#asked = true;
    const draw = (now) => {
      if (now < this.#due) return requestAnimationFrame(draw);
      this.#asked = false;
      if (!isRunning(this.turn)) return;
      const begun = performance.now();
      keepingEnd(() => this.drawText());
      this.#due = begun + CALM * (performance.now() - begun);
    };
    requestAnimationFrame(draw);
  }

  drawText(text = this.turn.text) {
    this.#live ??= new LiveMarkdown(this.answer, this.#citing());
    this.#live.update(text);
    this.#shown = text;
  }

  /** The answer that has ended. What was streamed stays: to build a long answer again would stop the page for long. */
  #drawWhole() {
    const { answer } = this.turn;
    const isWritten = answer && answer.value === null && answer.usage.completion_tokens > 0;
    if (this.#live && isWritten && answer.text.startsWith(this.#shown)) {
      this.drawText(answer.text);
      return;
    }
    this.turn.numbers = {};
    this.#live = null;
    this.answer.replaceChildren(...this.#whole());
  }

  #citing() {
    return { cite: (label) => this.#cite(label), isLabel: (label) => this.#passage(label) !== undefined };
  }

  /** A label's passage: as it came before the text, and as it stands with the answer once that is whole. */
  #passage(label) {
    const all = passagesOf(this.turn);
    if (all !== this.#all) {
      this.#all = all;
      this.#byLabel = new Map(all.map((passage) => [passage.label, passage]));
    }
    return this.#byLabel.get(label);
  }

  #cite(label) {
    const { turn } = this;
    const own = (turn.numbers[label] ??= Object.keys(turn.numbers).length + 1);
    const citation = () => turn.answer?.citations[Number(button.dataset.citation)] ?? null;
    const button = el(
      "button",
      { type: "button", class: "cite", "data-label": label, "aria-label": `${t("source", own)}: ${this.#passage(label).title}`, onclick: () => openPanel(turn, this.#passage(label), citation()) },
      String(own),
    );
    return button;
  }

  /** Which citation each label in the text stands for: a label may be there with several quotes. */
  #placeCitations() {
    const { marks = [], citations = [] } = this.turn.answer ?? {};
    for (const [at, button] of [...this.answer.querySelectorAll("button.cite")].entries()) {
      const marked = citations[marks[at]];
      const found = marked?.label === button.dataset.label ? marks[at] : citations.findIndex((each) => each.label === button.dataset.label);
      if (found >= 0) button.dataset.citation = found;
    }
  }

  #whole() {
    const { turn } = this;
    if (turn.answer?.value !== undefined && turn.answer?.value !== null) return this.#json();
    const text = turn.answer?.text ?? turn.text;
    const quotes = turn.answer && !turn.answer.usage.completion_tokens;
    if (quotes) return [el("p", { class: "quotes" }, plainText(text, this.#citing()))];
    const box = el("div", {});
    new LiveMarkdown(box, this.#citing()).update(text);
    return [...box.childNodes];
  }

  #json() {
    const { value, citations } = this.turn.answer;
    const cited = citations.map((citation) => el("li", {}, el("code", {}, visible(citation.pointer || "/")), " ", this.#cite(citation.label)));
    return [el("pre", { tabindex: 0 }, el("code", {}, visible(JSON.stringify(value, null, 2)))), el("ul", { class: "pointers" }, cited)];
  }

  #drawQuestion() {
    const { turn } = this;
    const edit = el("button", { type: "button", class: "plain small edit", onclick: () => this.#editQuestion() }, t("edit"));
    this.head.replaceChildren(
      el("h2", { class: "question", dir: "auto" }, el("span", { class: "off-screen" }, `${t("you")}: `), visible(turn.question)),
      isRunning(turn) ? "" : edit,
    );
  }

  #editQuestion() {
    const area = el("textarea", { rows: 3, "aria-label": t("question") });
    area.value = this.turn.question;
    const cancel = () => { this.#drawQuestion(); this.head.querySelector("button").focus(); };
    const send = () => area.value.trim() && this.actions.edit(area.value.trim());
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
      if (event.key === "Escape") { event.stopPropagation(); cancel(); }
    });
    this.head.replaceChildren(area, el("div", { class: "buttons" }, el("button", { type: "button", onclick: send }, t("save")), el("button", { type: "button", class: "plain", onclick: cancel }, t("cancel"))));
    area.focus();
  }

  #below() {
    return [this.#notices(), this.#sources(), this.#figures(), this.#buttons()].flat().filter(Boolean);
  }

  #notices() {
    const { turn } = this;
    const { answer, problem } = turn;
    const note = (...content) => el("p", { class: "note" }, ...content);
    const notes = [];
    if (problem) notes.push(el("div", { class: "note bad", role: "alert" }, el("p", {}, visible(problem.detail || t("offline"))), el("p", {}, goOn(problem))));
    if (answer?.degraded) notes.push(note(t("degradedWhy"), " ", el("span", { class: "quiet" }, visible(answer.degraded_reason))));
    if (answer?.cut) notes.push(note(t("cut")));
    if (answer?.uncited && !answer.refused) notes.push(note(t("uncited", answer.uncited)));
    if (answer?.standalone && !answer.refused) notes.push(el("p", { class: "quiet small" }, `${t("standalone")}: `, el("q", {}, visible(answer.standalone))));
    if (answer?.refused) notes.push(this.#searched());
    return notes;
  }

  /** What was searched for and where, with the nearest passages: so that a refusal can be judged. */
  #searched() {
    const { turn } = this;
    const { sources = [], filter } = turn.options;
    const where = sources.length ? sources.join(", ") : t("allSources");
    const narrowed = filter ? `, ${t("refusedFilter")} ${JSON.stringify(filter)}` : "";
    return el(
      "div", { class: "note searched" },
      el("p", {}, `${t("refusedSearched")} `, el("q", {}, visible(turn.answer.standalone || turn.question)), ` ${t("refusedIn")} ${where}${narrowed}.`),
      turn.nearest?.length ? el("p", {}, t("refusedNearest")) : turn.nearest ? el("p", {}, t("refusedNothing")) : null,
      el("ul", {}, (turn.nearest ?? []).map((hit) => el("li", {}, el("button", { type: "button", class: "link", onclick: () => openPanel(turn, hit) }, el("bdi", {}, visible(hit.title))), el("span", { class: "quiet small" }, ` ${placeOf(hit)} · ${t("score")} ${number(hit.score, 3)}`)))),
      el("p", {}, t("refusedNext")),
    );
  }

  #sources() {
    const { turn } = this;
    const numbered = Object.entries(turn.numbers);
    if (!numbered.length) return null;
    return el("ol", { class: "cited", "aria-label": t("sources") }, numbered.map(([label, own]) => {
      const passage = this.#passage(label);
      return el("li", {}, el("span", { class: "badge" }, String(own)), " ", el("button", { type: "button", class: "link", onclick: () => openPanel(turn, passage) }, el("bdi", {}, visible(passage.title))), el("span", { class: "quiet small" }, el("bdi", {}, visible(` ${placeOf(passage)}`))));
    }));
  }

  #figures() {
    const { answer, at, firstToken_s, total_s } = this.turn;
    const told = [t("askedAt", time(at))];
    if (answer) {
      const { prompt_tokens: prompt, cached_tokens: cached, completion_tokens: out } = answer.usage;
      if (answer.language) told.push(`${t("language")}: ${languageName(answer.language)}`);
      if (out) told.push(t("tokens", number(prompt), `${number(prompt ? (100 * cached) / prompt : 0)} %`, number(out)));
      else if (!answer.refused) told.push(t("noModel"));
      if (firstToken_s !== null) told.push(t("firstToken", number(firstToken_s, 2)));
      told.push(t("total", number(total_s, 2)));
    }
    return el("p", { class: "quiet small figures" }, told.join(" · "));
  }

  #buttons() {
    const { turn } = this;
    const said = el("span", { class: "quiet small", role: "status" });
    const copied = () => copy(withSources(turn)).then(() => (said.textContent = t("copied")), () => (said.textContent = t("notCopied")));
    const found = passagesOf(turn);
    return el(
      "div", { class: "buttons" },
      turn.text || turn.answer ? el("button", { type: "button", class: "plain small copy", onclick: copied }, t("copy")) : null,
      el("button", { type: "button", class: "plain small retry", onclick: () => this.actions.retry() }, t("retry")),
      found.length ? el("button", { type: "button", class: "plain small all-sources", onclick: () => openPanel(turn, found.find((each) => each.label in turn.numbers) ?? found[0]) }, t("showSources", found.length)) : null,
      said,
    );
  }
}

/** Do what makes the page longer, and stay at its end if that is where the reader is. */
export function keepingEnd(grow) {
  const page = document.documentElement;
  const atEnd = innerHeight + scrollY >= page.scrollHeight - 120;
  grow();
  if (atEnd) scrollTo(0, page.scrollHeight);
}

function goOn(problem) {
  const wait = duration(problem.retryAfter || 2).replace(" s", "");
  switch (problem.status) {
    case 0: return "";
    case 401: return t("goOn401");
    case 403: return t("goOn403");
    case 413: return t("goOn413");
    case 409:
    case 422: return t("goOn422");
    case 429: return t("goOn429", wait);
    case 503: return t("goOn503", wait);
    case 504: return t("goOn504");
    default: return `${t("goOn500")} ${problem.requestId}`;
  }
}

/** An answer as text, with its citations by number and, below, where each stands and what it says there. */
function withSources(turn) {
  const { numbers } = turn;
  const text = (turn.answer?.text ?? turn.text).replace(LABELS, (whole, label) => (label in numbers ? `[${numbers[label]}]` : whole));
  const cited = Object.entries(numbers).map(([label, own]) => {
    const passage = passagesOf(turn).find((each) => each.label === label);
    const quotes = (turn.answer?.citations ?? []).filter((each) => each.label === label).map((each) => `    “${each.quote.trim().replace(/\s*\n\s*/g, "; ")}”`);
    return [`[${own}] ${passage.title} (${placeOf(passage)}) ${passage.uri}`, ...new Set(quotes)].join("\n");
  });
  return [text, ...cited].join("\n\n");
}
