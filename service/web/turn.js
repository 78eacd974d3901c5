// One question with its answer: how it looks while it streams, when it is done, refused, quoted, stopped or failed.

import { button, copy, el, visible } from "./dom.js";
import { duration, languageName, number, t, time } from "./language.js";
import { LiveMarkdown, plainText } from "./markdown.js";
import { openPanel, passagesOf, placeOf } from "./panel.js";
import { withSources } from "./copied.js";

/** @import { Child } from "./dom.js" */
/** @import { Citing } from "./markdown.js" */
/** @import { AskOptions, Passage, Trouble, Turn } from "./types.js" */

const RUNNING = ["searching", "answering"];
const CALM = 4; // drawing takes at most one part in so many of the time

/** @returns {Turn} a turn as it begins */
export function newTurn(/** @type {string} */ question, /** @type {AskOptions} */ options) {
  return {
    question,
    options,
    at: Date.now() / 1000,
    state: "searching",
    text: "",
    passages: [],
    numbers: {},
    answer: null,
    problem: null,
    firstToken_s: null,
    total_s: null,
  };
}

const isRunning = (/** @type {Turn} */ turn) => RUNNING.includes(turn.state);
const isQuoted = (/** @type {Turn} */ turn) => turn.answer !== null && !turn.answer.usage.completion_tokens;

/** A turn's element. */
export class TurnView {
  /** @type {LiveMarkdown | null} */
  #live = null;
  #shown = "";
  /** @type {Passage[] | null} */
  #all = null;
  /** @type {Map<string | undefined, Passage>} */
  #byLabel = new Map();
  #due = 0;
  #asked = false;
  #state = el("span", { class: "badge state" });
  #answer = el("div", { class: "answer", dir: "auto" });
  #below = el("div", { class: "below" });
  #head = el("div", { class: "asked" });
  #actions;

  /**
   * @param {Turn} turn
   * @param {{ retry: () => unknown, edit: (question: string) => unknown }} actions
   */
  constructor(turn, actions) {
    this.turn = turn;
    this.#actions = actions;
    const heading = el("h3", { class: "answer-head" }, el("span", { class: "off-screen" }, t("answer")), this.#state);
    this.element = el("section", { class: "turn" }, this.#head, heading, this.#answer, this.#below);
    this.draw();
  }

  /** Show all of the turn as it is now. */
  draw() {
    const { turn } = this;
    this.element.dataset.state = turn.state;
    this.element.setAttribute("aria-busy", String(isRunning(turn)));
    this.#state.textContent = isQuoted(turn) && turn.state === "done" ? t("quoted") : t(turn.state);
    this.#drawQuestion();
    if (isRunning(turn)) {
      this.drawText();
    } else {
      this.#drawWhole();
      this.#placeCitations();
    }
    this.#below.replaceChildren(...(isRunning(turn) ? [] : this.#parts()));
  }

  /** Show text that has come, at the next frame that has time for it. */
  drawSoon() {
    if (this.#asked) return;
    this.#asked = true;
    const draw = (/** @type {number} */ now) => {
      if (now < this.#due) {
        requestAnimationFrame(draw);
        return;
      }
      this.#asked = false;
      if (!isRunning(this.turn)) return;
      const begun = performance.now();
      keepingEnd(() => this.drawText());
      this.#due = begun + CALM * (performance.now() - begun);
    };
    requestAnimationFrame(draw);
  }

  drawText(text = this.turn.text) {
    this.#live ??= new LiveMarkdown(this.#answer, this.#citing());
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
    this.#answer.replaceChildren(...this.#whole());
  }

  /** @returns {Citing} */
  #citing() {
    return { cite: (label) => this.#cite(label), isLabel: (label) => this.#passage(label) !== undefined };
  }

  /** A label's passage: as it came before the text, and as it stands with the answer once that is complete. */
  #passage(/** @type {string} */ label) {
    const all = passagesOf(this.turn);
    if (all !== this.#all) {
      this.#all = all;
      this.#byLabel = new Map(all.map((passage) => [passage.label, passage]));
    }
    return this.#byLabel.get(label);
  }

  #cite(/** @type {string} */ label) {
    const { turn } = this;
    const own = (turn.numbers[label] ??= Object.keys(turn.numbers).length + 1);
    const title = this.#passage(label)?.title ?? "";
    const press = () => {
      const passage = this.#passage(label);
      const citation = turn.answer?.citations[Number(made.dataset.citation)] ?? null;
      if (passage) openPanel(turn, passage, citation);
    };
    const more = { "data-label": label, "aria-label": t("labelled", t("source", own), title) };
    const made = button("cite", press, String(own), more);
    return made;
  }

  /** Which citation each label in the text stands for: a label may be there with several quotes. */
  #placeCitations() {
    const { marks = [], citations = [] } = this.turn.answer ?? {};
    /** @type {NodeListOf<HTMLElement>} */
    const buttons = this.#answer.querySelectorAll("button.cite");
    for (const [at, cite] of [...buttons].entries()) {
      const isOwn = citations[marks[at]]?.label === cite.dataset.label;
      const found = isOwn ? marks[at] : citations.findIndex((each) => each.label === cite.dataset.label);
      if (found >= 0) cite.dataset.citation = String(found);
    }
  }

  /** @returns {Node[]} */
  #whole() {
    const { turn } = this;
    if (turn.answer?.value !== undefined && turn.answer.value !== null) return this.#json(turn.answer);
    const text = turn.answer?.text ?? turn.text;
    if (isQuoted(turn)) return [el("p", { class: "quotes" }, plainText(text, this.#citing()))];
    const box = el("div", {});
    new LiveMarkdown(box, this.#citing()).update(text);
    return [...box.childNodes];
  }

  #json(/** @type {NonNullable<Turn["answer"]>} */ { value, citations }) {
    const cited = citations.map(({ pointer, label }) =>
      el("li", {}, el("code", {}, visible(pointer || "/")), " ", this.#cite(label)),
    );
    const text = visible(JSON.stringify(value, null, 2));
    return [el("pre", { tabindex: 0 }, el("code", {}, text)), el("ul", { class: "pointers" }, cited)];
  }

  #drawQuestion() {
    const { turn } = this;
    const heading = el("h2", { class: "question", dir: "auto" });
    heading.append(el("span", { class: "off-screen" }, t("labelled", t("you"), "")), ...visible(turn.question));
    const edit = button("plain small edit", () => this.#editQuestion(), t("edit"));
    this.#head.replaceChildren(heading, ...(isRunning(turn) ? [] : [edit]));
  }

  #editQuestion() {
    const area = el("textarea", { rows: 3, "aria-label": t("question") });
    area.value = this.turn.question;
    const cancel = () => {
      this.#drawQuestion();
      this.#head.querySelector("button")?.focus();
    };
    const send = () => {
      if (area.value.trim()) this.#actions.edit(area.value.trim());
    };
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        send();
      }
      if (event.key === "Escape") {
        event.stopPropagation();
        cancel();
      }
    });
    const buttons = [button("", send, t("save")), button("plain", cancel, t("cancel"))];
    this.#head.replaceChildren(area, el("div", { class: "buttons" }, buttons));
    area.focus();
  }

  /** What stands below the answer. */
  #parts() {
    return [...notices(this.turn), ...this.#sources(), figures(this.turn), this.#buttons()];
  }

  #sources() {
    const numbered = Object.entries(this.turn.numbers);
    if (!numbered.length) return [];
    const items = numbered.map(([label, own]) => {
      const passage = this.#passage(label);
      return passage && el("li", {}, el("span", { class: "badge" }, String(own)), " ", ...this.#linked(passage));
    });
    return [el("ol", { class: "cited", "aria-label": t("sources") }, items)];
  }

  #linked(/** @type {Passage} */ passage) {
    return [
      button("link", () => openPanel(this.turn, passage), el("bdi", {}, visible(passage.title))),
      el("span", { class: "quiet small" }, el("bdi", {}, visible(` ${placeOf(passage)}`))),
    ];
  }

  #buttons() {
    const { turn } = this;
    const said = el("span", { class: "quiet small", role: "status" });
    const say = (/** @type {"copied" | "notCopied"} */ name) => (said.textContent = t(name));
    const copied = () =>
      copy(withSources(turn)).then(
        () => say("copied"),
        () => say("notCopied"),
      );
    const found = passagesOf(turn);
    const first = found.find((each) => (each.label ?? "") in turn.numbers) ?? found[0];
    return el(
      "div",
      { class: "buttons" },
      (turn.text || turn.answer) && button("plain small copy", copied, t("copy")),
      button("plain small retry", () => this.#actions.retry(), t("retry")),
      first && button("plain small all-sources", () => openPanel(turn, first), t("showSources", found.length)),
      said,
    );
  }
}

/** Do what makes the page longer, and stay at its end if that is where the reader is. */
export function keepingEnd(/** @type {() => void} */ grow) {
  const page = document.documentElement;
  const atEnd = innerHeight + scrollY >= page.scrollHeight - 120;
  grow();
  if (atEnd) scrollTo(0, page.scrollHeight);
}

/** What a reader must know of an answer, or of why there is none. */
function notices(/** @type {Turn} */ turn) {
  const { answer, problem } = turn;
  const note = (/** @type {Child[]} */ ...content) => el("p", { class: "note" }, content);
  const notes = [];
  if (problem) {
    const what = el("p", {}, visible(problem.detail || t("offline")));
    notes.push(el("div", { class: "note bad", role: "alert" }, what, el("p", {}, goOn(problem))));
  }
  if (!answer) return notes;
  if (answer.degraded) {
    notes.push(note(t("degradedWhy"), " ", el("span", { class: "quiet" }, visible(answer.degraded_reason))));
  }
  if (answer.cut) notes.push(note(t("cut")));
  if (answer.refused) return [...notes, searched(turn, answer.standalone)];
  if (answer.uncited) notes.push(note(t("uncited", answer.uncited)));
  if (answer.standalone) {
    const asked = el("q", {}, visible(answer.standalone));
    notes.push(el("p", { class: "quiet small" }, t("labelled", t("standalone"), ""), asked));
  }
  return notes;
}

/** What was searched for and where, with the nearest passages: so that a refusal can be judged. */
function searched(/** @type {Turn} */ turn, /** @type {string} */ standalone) {
  const { sources = [], filter } = turn.options;
  const where = t(
    "searchedIn",
    sources.length ? sources.join(", ") : t("allSources"),
    filter ? JSON.stringify(filter) : "",
  );
  const asked = el("q", {}, visible(standalone || turn.question));
  const hits = (turn.nearest ?? []).map((hit) => {
    const place = ` ${placeOf(hit)} · ${t("score")} ${number(hit.score, 3)}`;
    const open = button("link", () => openPanel(turn, hit), el("bdi", {}, visible(hit.title)));
    return el("li", {}, open, el("span", { class: "quiet small" }, place));
  });
  return el(
    "div",
    { class: "note searched" },
    el("p", {}, t("searchedFor"), asked, where),
    turn.nearest && el("p", {}, t(hits.length ? "nearest" : "nothingNear")),
    el("ul", {}, hits),
    el("p", {}, t("afterRefusal")),
  );
}

/** When it was asked, and what it took. */
function figures(/** @type {Turn} */ { answer, at, firstToken_s, total_s }) {
  const parts = [t("askedAt", time(at))];
  if (answer) {
    const { prompt_tokens: prompt, cached_tokens: cached, completion_tokens: out } = answer.usage;
    if (answer.language) parts.push(t("labelled", t("language"), languageName(answer.language) ?? answer.language));
    if (out) parts.push(t("tokens", number(prompt), `${number(prompt ? (100 * cached) / prompt : 0)} %`, number(out)));
    else if (!answer.refused) parts.push(t("noModel"));
    if (firstToken_s !== null) parts.push(t("firstToken", number(firstToken_s, 2)));
    if (total_s !== null) parts.push(t("total", number(total_s, 2)));
  }
  return el("p", { class: "quiet small figures" }, parts.join(" · "));
}

/** What to do after a problem. */
function goOn(/** @type {Trouble} */ problem) {
  const wait = duration(problem.retryAfter || 2);
  switch (problem.status) {
    case 0:
      return "";
    case 401:
      return t("goOn401");
    case 403:
      return t("goOn403");
    case 413:
      return t("goOn413");
    case 409:
    case 422:
      return t("goOn422");
    case 429:
      return t("goOn429", wait);
    case 503:
      return t("goOn503", wait);
    case 504:
      return t("goOn504");
    default:
      return `${t("goOn500")} ${problem.requestId}`;
  }
}
