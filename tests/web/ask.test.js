import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { answer, event, passage } from "./fake_answers.js";
import { openDatabases } from "./fake_database.js";
import { openPage } from "./fake_page.js";

const IDS = ["composer", "question", "send", "stop", "status", "turns", "welcome", "conversation-note", "options"];
openPage("panel", "panel-body", "panel-title", ...IDS);
const ask = await import("../../service/web/ask.js");
const history = await import("../../service/web/history.js");
const { drawOptions } = await import("../../service/web/options.js");
const byId = (id) => document.getElementById(id);
const ME = { sources: ["docs"], asking: { profiles: {}, max_question_chars: 50, keep_conversations_s: 3600 } };
const DELTA = event("delta", { text: "It opens" });
const states = () => byId("turns").childNodes.map((each) => each.dataset.state);
let requests;
let signIns;

/** The service answers each request so, by its path: text of a stream, an object, or a function of the request. */
function service(answers) {
  requests = [];
  globalThis.fetch = async (url, { method, body, signal }) => {
    const path = url.pathname.split("/v1/")[1];
    requests.push([`${method} ${path}${url.search}`, body && JSON.parse(body)]);
    const given = answers[path.split("/")[0]] ?? {};
    if (given instanceof Response) return given.clone();
    if (typeof given === "function") return given(signal);
    return typeof given === "string" ? new Response(given) : Response.json(given);
  };
}

const done = (more) => event("passages", { passages: [passage("k7f2")] }) + DELTA + event("done", answer(more));
const problem = (status) => Response.json({ detail: "No." }, { status });
const bodyOf = (at) => requests[at][1];

/** A stream that says this, and then waits until it is stopped. */
function hangs(text) {
  return (signal) => {
    const start = (body) => {
      if (text) body.enqueue(new TextEncoder().encode(text));
      signal.addEventListener("abort", () => body.error(signal.reason));
    };
    return new Response(new ReadableStream({ start }));
  };
}

beforeEach(() => {
  openDatabases();
  history.openFor("ann");
  signIns = [];
  ask.setCaller(ME, (why, then) => signIns.push([why, then]));
  drawOptions(null);
  ask.newConversation();
  service({ ask: done() });
});

for (const [state, more] of [
  ["done", {}],
  ["done", { citations: [], value: { a: 1 } }],
  ["unfounded", { citations: [] }],
  ["degraded", { degraded: true, citations: [] }],
]) {
  test(`an answer is ${state} where it says ${JSON.stringify(more)}`, async () => {
    service({ ask: done(more) });
    await ask.ask("When?");
    assert.deepEqual(states(), [state]);
    assert.match(byId("status").textContent, /^Answer complete, \d sources cited\.$/);
  });
}

test("a refusal asks for the passages that were nearest", async () => {
  service({ ask: done({ refused: true, standalone: "When does it open?" }), retrieve: { hits: [passage(undefined)] } });
  await ask.ask("When?");
  assert.deepEqual(states(), ["refused"]);
  assert.deepEqual(bodyOf(1), { question: "When does it open?", k: 5, sources: [], filter: {} });
  assert.equal(byId("turns").querySelector(".searched").querySelectorAll("li").length, 1);
});

test("a refusal stands without the nearest passages where they cannot be had", async () => {
  service({ ask: done({ refused: true }), retrieve: problem(503) });
  await ask.ask("When?");
  assert.deepEqual(states(), ["refused"]);
});

test("a question is asked with the conversation's id, and the next one too", async () => {
  await ask.ask("When?");
  await ask.ask("And where?");
  const [first, second] = [bodyOf(0), bodyOf(1)];
  assert.deepEqual(first, { question: "When?", stream: true, conversation: second.conversation });
  assert.match(first.conversation, /^[0-9a-f]{32}$/);
  ask.newConversation();
  await ask.ask("Who?");
  assert.notEqual(bodyOf(2).conversation, first.conversation);
});

test("a stream that ends with an error shows it", async () => {
  service({ ask: DELTA + event("error", { status: 503, detail: "The engine is gone.", request_id: "r1" }) });
  await ask.ask("When?");
  assert.deepEqual(states(), ["error"]);
  assert.ok(byId("turns").textContent.includes("The engine is gone."));
});

test("a stream that ends without an end is a lost connection", async () => {
  service({ ask: DELTA });
  await ask.ask("When?");
  assert.deepEqual(states(), ["error"]);
  assert.ok(byId("turns").textContent.includes("the connection was lost"));
});

test("stopping keeps the text that has come, and the page can ask again", async () => {
  service({ ask: hangs(DELTA) });
  const asking = ask.ask("When?");
  await new Promise((next) => setTimeout(next));
  assert.deepEqual([byId("send").hidden, byId("stop").hidden], [true, false]);
  await ask.ask("Not while one is asked.");
  ask.stop();
  await asking;
  assert.deepEqual([states(), byId("status").textContent, requests.length], [["stopped"], "Stopped", 1]);
  assert.deepEqual([byId("send").hidden, byId("stop").hidden], [false, true]);
});

test("a conversation is kept with its first question as the title", async () => {
  await ask.ask("When?");
  await ask.ask("Where?");
  const kept = await history.list();
  assert.deepEqual(kept.map((each) => [each.title, each.turns.length]), [["When?", 2]]); // prettier-ignore
  assert.equal(byId("conversation-note").hidden, true);
});

test("a browser that keeps nothing is said to", async () => {
  openDatabases({ broken: true });
  history.openFor("ann");
  await ask.ask("When?");
  assert.ok(byId("conversation-note").textContent.includes("does not keep the history"));
});

test("a key that is needed is asked for, and then the question again", async () => {
  service({ ask: problem(401) });
  await ask.ask("When?");
  const [[why, then]] = signIns;
  assert.ok(why.startsWith("Your key has expired"));
  service({ ask: done() });
  await then();
  assert.deepEqual(states(), ["done"]);
});

test("asking again forgets the turn and those after it, and keeps the conversation as it was", async () => {
  for (const question of ["One?", "Two?", "Three?"]) await ask.ask(question);
  const id = bodyOf(0).conversation;
  service({ ask: done() });
  await byId("turns").querySelectorAll(".retry")[1].click();
  assert.equal(requests[0][0], `DELETE conversations/${id}?last=2`);
  assert.equal(bodyOf(1).question, "Two?");
  assert.deepEqual(states(), ["done", "done"]);
  const before = (await history.list()).find((each) => each.id !== id);
  assert.deepEqual([before.title, before.turns.length, before.forgotten], ["One? (before the edit)", 3, true]);
});

test("asking a question again that had no answer leaves no copy behind", async () => {
  service({ ask: problem(500) });
  await ask.ask("When?");
  service({ ask: done() });
  await byId("turns").querySelector(".retry").click();
  assert.deepEqual([requests.map(([path]) => path), (await history.list()).length], [["POST ask"], 1]);
});

test("where the service could not forget a turn, what was said goes along as text", async () => {
  await ask.ask("One?");
  await ask.ask("Two?");
  service({ ask: done(), conversations: problem(503) });
  await byId("turns").querySelectorAll(".retry")[1].click();
  const { history: said, conversation } = bodyOf(1);
  assert.equal(conversation, undefined);
  assert.deepEqual(said, [
    { role: "user", content: "One?" },
    { role: "assistant", content: "It opens at 11 ." },
  ]);
});

test("a conversation that the service has forgotten goes on with its text, and says so", async () => {
  await ask.ask("One?");
  const [old] = await history.list();
  old.turns[0].at -= 7200;
  ask.open(old);
  assert.ok(byId("conversation-note").textContent.includes("no longer keeps"));
  service({ ask: done() });
  await ask.ask("Two?");
  assert.equal(bodyOf(0).history.length, 2);
});

test("a conversation of the history is shown and goes on", async () => {
  await ask.ask("One?");
  const [kept] = await history.list();
  ask.newConversation();
  assert.deepEqual([states(), byId("welcome").hidden], [[], false]);
  ask.open(kept);
  assert.deepEqual([states(), byId("welcome").hidden], [["done"], true]);
  await ask.ask("Two?");
  assert.equal(bodyOf(1).conversation, kept.id);
});

test("the composer asks what is in it, without the spaces around, and is empty then", async () => {
  byId("question").value = "  When?  ";
  await byId("composer").fire("submit");
  assert.deepEqual([bodyOf(0).question, byId("question").value], ["When?", ""]);
  byId("question").value = "   ";
  await byId("composer").fire("submit");
  assert.equal(requests.length, 1);
  ask.stop();
});

test("a question may be as long as the service allows", () => {
  assert.equal(byId("question").maxLength, 50);
});
