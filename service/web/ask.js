// The conversation: asking, stopping, asking again, changing a question; each turn goes to the history.

import { call, events, Problem } from "./api.js";
import { byId } from "./dom.js";
import * as history from "./history.js";
import { t } from "./language.js";
import { LABELS } from "./markdown.js";
import { asked } from "./options.js";
import { closePanel } from "./panel.js";
import { keepingEnd, newTurn, TurnView } from "./turn.js";

/** @import { Answer, Caller, Conversation, Passage, Turn } from "./types.js" */
/** @typedef {(why: string, then: () => unknown) => void} OnUnknown what to do when the service asks for a key */

const NEAREST = 5;
/** @type {Caller | null} */
let me = null;
let conversation = begin();
/** @type {TurnView[]} */
let views = [];
/** @type {AbortController | null} */
let stopping = null;
/** @type {OnUnknown} */
let onUnknown = () => {};

/**
 * @param {Caller | null} caller as /v1/me tells, null before the sign-in
 * @param {OnUnknown} unknown
 */
export function setCaller(caller, unknown) {
  me = caller;
  onUnknown = unknown;
  if (me) byId("question").maxLength = me.asking.max_question_chars;
}

export function newConversation() {
  stop();
  open(begin());
  byId("question").focus();
}

/** Show a conversation of the history, to go on with. */
export function open(/** @type {Conversation} */ saved) {
  stop();
  closePanel();
  conversation = saved;
  views = conversation.turns.map(viewOf);
  byId("turns").replaceChildren(...views.map((view) => view.element));
  byId("welcome").hidden = views.length > 0;
  const forgotten = isForgotten();
  byId("conversation-note").hidden = !forgotten;
  byId("conversation-note").textContent = forgotten ? t("oldConversation") : "";
}

/** Draw everything again, in the language that is chosen now. */
export const redraw = () => (stopping ? undefined : open(conversation));

export function stop() {
  stopping?.abort();
}

export async function ask(/** @type {string} */ question) {
  const options = question ? asked() : null;
  if (!options || stopping) return;
  const turn = newTurn(question, options);
  const view = viewOf(turn);
  const own = conversation;
  const mine = (stopping = new AbortController());
  const body = { question, stream: true, ...options, ...context() };
  conversation.turns.push(turn);
  views.push(view);
  byId("turns").append(view.element);
  byId("welcome").hidden = true;
  running(true);
  say(t("searching"));
  scrollTo(0, document.documentElement.scrollHeight);
  try {
    await follow(turn, view, body, mine.signal);
  } catch (error) {
    fail(turn, mine.signal.aborted ? null : error);
  }
  own.at = Date.now() / 1000;
  keepingEnd(() => view.draw());
  await keep(own); // before the end is told: who leaves then has the turn in the history
  stopping = null;
  running(false);
  tell(turn);
  if (turn.problem?.status === 401) onUnknown(t(me ? "signInAgain" : "signInToAsk"), () => again(view, question));
}

/**
 * Ask, and show the answer as it comes. Throws a Problem.
 * @param {Turn} turn
 * @param {TurnView} view
 * @param {object} body
 * @param {AbortSignal} signal
 */
async function follow(turn, view, body, signal) {
  const begun = performance.now();
  for await (const [name, data] of events("POST", "v1/ask", body, signal)) {
    if (name === "passages") turn.passages = data.passages;
    if (name === "delta") {
      turn.firstToken_s ??= (performance.now() - begun) / 1000;
      if (turn.state !== "answering") {
        turn.state = "answering";
        view.draw();
      }
      turn.text += data.text;
      view.drawSoon();
    }
    if (name === "error") throw new Problem(data.status, data.detail, { requestId: data.request_id });
    if (name === "done") {
      turn.answer = data;
      turn.total_s = (performance.now() - begun) / 1000;
      turn.text = "";
      turn.passages = [];
      turn.state = stateOf(data);
      if (data.refused) turn.nearest = await nearest(turn, signal);
      return;
    }
  }
  throw new Problem(0, "");
}

/** What an answer is: one in which nothing stands on a source is shown as such, whoever says that nothing is known. */
function stateOf(/** @type {Answer} */ answer) {
  if (answer.refused) return "refused";
  if (answer.degraded) return "degraded";
  return answer.citations.length || answer.value !== null ? "done" : "unfounded";
}

/**
 * The passages that a refused question came nearest to.
 * @param {Turn} turn
 * @param {AbortSignal} signal
 * @returns {Promise<Passage[] | null>}
 */
async function nearest(turn, signal) {
  const { sources = [], filter = {} } = turn.options;
  const question = turn.answer?.standalone || turn.question;
  try {
    const found = await call("POST", "v1/retrieve", { question, k: NEAREST, sources, filter }, signal);
    return found.hits;
  } catch {
    return null;
  }
}

/** error: null where the reader stopped it. */
function fail(/** @type {Turn} */ turn, /** @type {unknown} */ error) {
  turn.state = error ? "error" : "stopped";
  if (!error) return;
  if (!(error instanceof Problem)) console.error(error);
  const problem = error instanceof Problem ? error : new Problem(500, String(error));
  const { status, message: detail, retryAfter, requestId } = problem;
  turn.problem = { status, detail, retryAfter, requestId };
}

function tell(/** @type {Turn} */ turn) {
  const ended = ["done", "degraded", "unfounded"].includes(turn.state);
  say(ended ? t("answered", Object.keys(turn.numbers).length) : t(turn.state));
}

/** @returns {TurnView} */
function viewOf(/** @type {Turn} */ turn) {
  const view = new TurnView(turn, {
    retry: () => again(view, turn.question),
    edit: (question) => again(view, question),
  });
  return view;
}

/** Ask in place of a turn. The conversation as it was stays in the history if later turns go, or an answer does. */
async function again(/** @type {TurnView} */ view, /** @type {string} */ question) {
  if (stopping || !asked()) return;
  const at = views.indexOf(view);
  const gone = conversation.turns.slice(at);
  if (gone.some((turn) => turn.answer)) {
    const title = `${conversation.title} (${t("beforeEdit")})`;
    await history.save({ ...structuredClone(conversation), id: newId(), title, forgotten: true });
  }
  const kept = gone.filter((turn) => turn.answer).length;
  if (kept && !isForgotten()) {
    try {
      await call("DELETE", `v1/conversations/${conversation.id}?last=${kept}`);
    } catch {
      conversation.forgotten = true; // what was said goes along as text
    }
  }
  conversation.turns.length = at;
  for (const each of views.splice(at)) each.element.remove();
  closePanel();
  await ask(question);
}

/** What the service needs to know of the turns before: their id, or their text where it has forgotten them. */
function context() {
  if (!isForgotten()) return { conversation: conversation.id };
  conversation.forgotten = true;
  const history = conversation.turns.flatMap(({ question, answer }) => {
    if (!answer) return [];
    const said = answer.text.replace(LABELS, "");
    return [
      { role: "user", content: question },
      { role: "assistant", content: said },
    ];
  });
  return { history };
}

function isForgotten() {
  const last = conversation.turns.at(-1);
  if (conversation.forgotten || !last || !me) return conversation.forgotten;
  return Date.now() / 1000 - last.at > me.asking.keep_conversations_s;
}

async function keep(/** @type {Conversation} */ own) {
  own.title = own.turns[0].question.slice(0, 120);
  const kept = await history.save(structuredClone(own));
  if (own !== conversation) return;
  byId("conversation-note").hidden = kept && !own.forgotten;
  if (!kept) byId("conversation-note").textContent = t("historyOff");
}

function running(/** @type {boolean} */ now) {
  byId("send").hidden = now;
  byId("stop").hidden = !now;
}

function say(/** @type {string} */ text) {
  byId("status").textContent = text;
}

/** @returns {Conversation} */
function begin() {
  return { id: newId(), title: "", at: Date.now() / 1000, turns: [], forgotten: false };
}

/** Also where crypto.randomUUID is not to be had: http:// on an intranet. */
function newId() {
  const bytes = Array.from(crypto.getRandomValues(new Uint8Array(16)));
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const box = byId("question");
  const question = box.value.trim();
  if (!question || stopping || !asked()) return;
  box.value = "";
  ask(question);
});
byId("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    byId("composer").requestSubmit();
  }
});
byId("stop").addEventListener("click", () => {
  stop();
  byId("question").focus();
});
