import assert from "node:assert/strict";
import { test } from "node:test";
import { answer, citation, passage, row, turn } from "./fake_answers.js";
import { openPage } from "./fake_page.js";

openPage("panel", "panel-body", "panel-title").childNodes[0].hidden = true;
const { keepingEnd, newTurn, TurnView } = await import("../../service/web/turn.js");
const { withSources } = await import("../../service/web/copied.js");
const actions = [];
const view = (given) =>
  new TurnView(given, { retry: () => actions.push("retry"), edit: (question) => actions.push(question) }).element;
const text = (given, selector) => view(given).querySelector(selector)?.textContent;
const trouble = (status, more = {}) =>
  turn({ state: "error", answer: null, problem: { status, detail: "No.", retryAfter: 0, requestId: "r1", ...more } });

test("a turn begins searching, with nothing to show yet", () => {
  const made = view(newTurn("When?", {}));
  assert.deepEqual([made.dataset.state, made.getAttribute("aria-busy")], ["searching", "true"]);
  assert.equal(made.querySelector(".below").textContent, "");
});

for (const [state, more, shown] of [
  ["done", {}, "Done"],
  ["done", { usage: { prompt_tokens: 0, cached_tokens: 0, completion_tokens: 0 } }, "Quoted"],
  ["refused", { refused: true }, "No evidence found"],
  ["degraded", { degraded: true }, "Quoted: the language model is unavailable"],
  ["unfounded", { citations: [] }, "No answer in your sources"],
]) {
  test(`an answer that is ${state} is shown as “${shown}”`, () => {
    assert.equal(text(turn({ state, answer: answer(more) }), ".state"), shown);
  });
}

for (const [status, more, shown] of [
  [0, {}, ""],
  [401, {}, "Sign in with an API key, then ask again."],
  [403, {}, "Your key does not allow this. Ask whoever issued it for more access."],
  [409, {}, "Change the question or its options, then ask again."],
  [413, {}, "Shorten it, then ask again."],
  [422, {}, "Change the question or its options, then ask again."],
  [429, { retryAfter: 60 }, "Wait 1 min, then ask again."],
  [503, {}, "Ask again in 2 s."],
  [504, {}, "Ask again, or ask for less."],
  [500, {}, "Ask again. If it keeps failing, give your operator this request ID: r1"],
]) {
  test(`after a problem with the status ${status} the reader knows what to do`, () => {
    assert.equal(text(trouble(status, more), ".bad"), `No.${shown}`);
  });
}

test("a problem without words is one of the connection", () => {
  assert.ok(text(trouble(0, { detail: "" }), ".bad").startsWith("The service could not be reached"));
});

test("a label in the text opens its passage, and its number stands in the list of sources", () => {
  const made = view(turn());
  assert.equal(made.querySelector(".answer").textContent, "It opens at 11 1.");
  assert.equal(made.querySelector("ol").textContent, "1 Stores docs · Edmonton");
  assert.equal(made.querySelector("button.cite").dataset.citation, "0");
});

test("labels of one passage with several quotes stand for the quote that each marks", () => {
  const citations = [citation("k7f2"), citation("a1b2"), citation("k7f2", { start: 10 })];
  const given = answer({ text: "A [k7f2]. B [k7f2]. C [a1b2].", citations, marks: [2, 0, 9] });
  const buttons = view(turn({ answer: given })).querySelectorAll("button.cite");
  const found = buttons.map((each) => [each.textContent, each.dataset.citation]);
  assert.deepEqual(found, [["1", "2"], ["1", "0"], ["2", "1"]]); // prettier-ignore
});

test("a label's button opens its passage at the quote that it stands for", async () => {
  const panel = document.getElementById("panel");
  const citations = [citation("k7f2"), citation("k7f2", { start: 4, end: 9 })];
  const given = answer({ text: "A [k7f2].", citations, marks: [1] });
  await view(turn({ answer: given }))
    .querySelector("button.cite")
    .click();
  assert.equal(panel.hidden, false);
  assert.equal(document.getElementById("panel-body").querySelector("mark").textContent, "store");
});

test("text that comes is shown at the next frame, once, and no more after the end", () => {
  const frames = [];
  globalThis.requestAnimationFrame = (draw) => frames.push(draw);
  const given = newTurn("When?", {});
  const shown = new TurnView(given, {});
  given.state = "answering";
  given.text = "One";
  shown.drawSoon();
  shown.drawSoon();
  assert.deepEqual([frames.length, shown.element.querySelector(".answer").textContent], [1, ""]);
  frames.pop()(performance.now());
  assert.equal(shown.element.querySelector(".answer").textContent, "One");
  given.text = "One two";
  shown.drawSoon();
  frames.pop()(0); // drawing took its share of the time: not yet
  assert.deepEqual([frames.length, shown.element.querySelector(".answer").textContent], [1, "One"]);
  given.state = "stopped";
  frames.pop()(performance.now() + 1000);
  assert.equal(shown.element.querySelector(".answer").textContent, "One");
});

for (const [kept, text, more] of [
  [true, "One.\n\nTwo [k7f2].", {}],
  [false, "Uno.\n\nTwo [k7f2].", {}],
  [false, "One.\n\nTwo [k7f2].", { value: { a: 1 } }],
  [false, "One.\n\nTwo [k7f2].", { usage: { prompt_tokens: 0, cached_tokens: 0, completion_tokens: 0 } }],
]) {
  test(`what was streamed ${kept ? "stays" : "goes"} when the answer is ${text} with ${JSON.stringify(more)}`, () => {
    const given = { ...newTurn("When?", {}), state: "answering", text: "One.\n\nTw" };
    const shown = new TurnView(given, {});
    const [first] = shown.element.querySelectorAll("p");
    Object.assign(given, { state: "done", text: "", answer: answer({ text, ...more }) });
    shown.draw();
    assert.equal(shown.element.querySelectorAll("p").includes(first), kept);
  });
}

test("a reader at the end of the page stays there as it grows, and one above it stays where they are", () => {
  const page = document.documentElement;
  const scrolled = [];
  globalThis.scrollTo = (x, y) => scrolled.push(y);
  for (const top of [380, 379]) {
    Object.assign(globalThis, { innerHeight: 500, scrollY: top });
    page.scrollHeight = 1000;
    keepingEnd(() => (page.scrollHeight = 1200));
  }
  assert.deepEqual(scrolled, [1200]);
});

test("quotes stand as they are, and an answer in JSON stands as JSON with its pointers", () => {
  const usage = { prompt_tokens: 0, cached_tokens: 0, completion_tokens: 0 };
  assert.equal(text(turn({ answer: answer({ text: "**x** [k7f2]", usage }) }), ".quotes"), "**x** 1");
  const given = turn({
    answer: answer({ value: { opens: 11 }, citations: [citation("k7f2", { pointer: "/opens" })] }),
  });
  assert.equal(text(given, "pre"), '{\n  "opens": 11\n}');
  assert.equal(text(given, ".pointers"), "/opens 1");
});

test("what a reader must know stands below the answer, and only where it is so", () => {
  const notes = (more) => view(turn({ answer: answer(more) })).querySelectorAll(".note").map((each) => each.textContent); // prettier-ignore
  assert.deepEqual(notes({}), []);
  assert.deepEqual(notes({ cut: true, uncited: 2 }), [
    "The answer reached its length limit.",
    "2 sentences have no source. Check them yourself.",
  ]);
  assert.ok(notes({ degraded: true, degraded_reason: "Late." })[0].endsWith("quoted verbatim. Late."));
});

test("a refusal says what was searched for and where, and shows the nearest passages", () => {
  const refused = answer({ refused: true, text: "", standalone: "When does it open?", citations: [], passages: [] });
  const options = { sources: ["docs"], filter: { page: 1 } };
  const given = turn({ state: "refused", answer: refused, options, nearest: [row(undefined)] });
  const shown = text(given, ".searched");
  assert.ok(shown.startsWith('Searched for When does it open? in docs, with the filter {"page":1}.The closest'));
  assert.ok(shown.includes("Album 4 shop · AlbumId = 4 · Score 0.5"));
  assert.ok(text({ ...given, nearest: [], options: {} }, ".searched").includes("in all sources.No similar"));
  assert.ok(!text({ ...given, nearest: null }, ".searched").includes("passages"));
});

test("the question that was searched for is shown where it differs", () => {
  const shown = (more) => view(turn({ answer: answer(more) })).querySelectorAll("q").map((each) => each.textContent); // prettier-ignore
  assert.deepEqual([shown({}), shown({ standalone: "When does it open?" })], [[], ["When does it open?"]]);
});

test("the figures say what an answer took", () => {
  const shown = (more) => text(turn(more), ".figures").split(" · ").slice(1);
  const tokens = "100 prompt tokens (64 % cached), 9 completion tokens";
  assert.deepEqual(shown({}), ["Language: English", tokens, "first token after 0.25 s", "1.5 s in total"]);
  const usage = { prompt_tokens: 0, cached_tokens: 0, completion_tokens: 0 };
  const quoted = answer({ usage, language: "" });
  assert.deepEqual(shown({ answer: quoted, firstToken_s: null, total_s: null }), ["quoted without a language model"]);
  assert.deepEqual(shown({ answer: null }), []);
});

test("a question is asked again, or changed and asked", async () => {
  const made = view(turn());
  await made.querySelector(".retry").click();
  await made.querySelector(".edit").click();
  const area = made.querySelector("textarea");
  area.value = "  Who?  ";
  await area.fire("keydown", { key: "Enter" });
  assert.deepEqual(actions.splice(0), ["retry", "Who?"]);
});

test("a new line, and Enter that ends the writing of a Chinese word, ask nothing", async () => {
  const made = view(turn());
  await made.querySelector(".edit").click();
  for (const more of [{ shiftKey: true }, { isComposing: true }]) {
    await made.querySelector("textarea").fire("keydown", { key: "Enter", ...more });
  }
  await made.querySelector("textarea").fire("keydown", { key: "a" });
  assert.deepEqual(actions, []);
});

test("what is there can be copied, and a question under way cannot be changed", () => {
  const offered = (more) => [".copy", ".edit", ".retry"].filter((each) => view(turn(more)).querySelector(each));
  assert.deepEqual(offered({}), [".copy", ".edit", ".retry"]);
  assert.deepEqual(offered({ answer: null, text: "It", state: "stopped" }), [".copy", ".edit", ".retry"]);
  assert.deepEqual(offered({ answer: null, state: "stopped" }), [".edit", ".retry"]);
  assert.deepEqual(offered({ answer: null, state: "searching" }), []);
});

test("an engine that counts no prompt has no share of it cached", () => {
  const usage = { prompt_tokens: 0, cached_tokens: 0, completion_tokens: 9 };
  assert.ok(text(turn({ answer: answer({ usage }) }), ".figures").includes("0 prompt tokens (0 % cached), 9"));
});

test("a change is given up with Escape, and an empty one asks nothing", async () => {
  const made = view(turn());
  await made.querySelector(".edit").click();
  made.querySelector("textarea").value = " ";
  await made.querySelector("textarea").fire("keydown", { key: "Enter" });
  await made.querySelector("textarea").fire("keydown", { key: "Escape" });
  assert.deepEqual([actions, made.querySelector("textarea")], [[], null]);
  assert.equal(made.querySelector(".question").textContent, "Question: When?");
});

test("an answer is copied with numbers for its labels, and with each source's place and quotes", () => {
  const citations = [citation("k7f2"), citation("k7f2"), citation("a1b2", { quote: " one\n  two " })];
  const given = turn({
    numbers: { k7f2: 1, a1b2: 2 },
    answer: answer({ text: "A [k7f2]. B [a1b2] [z9z9].", citations }),
  });
  const lines = [
    "A [1]. B [2] [z9z9].",
    "",
    "[1] Stores (docs · Edmonton) file:///docs/stores.md",
    "    “The store”",
    "",
    "[2] Album 4 (shop · AlbumId = 4) https://shop.example/4",
    "    “one; two”",
  ];
  assert.equal(withSources(given), lines.join("\n"));
});

test("a text that was stopped is copied too", () => {
  const given = turn({ answer: null, text: "It opens [k7f2]", passages: [passage("k7f2")], numbers: { k7f2: 1 } });
  assert.ok(withSources(given).startsWith("It opens [1]\n\n[1] Stores"));
});
