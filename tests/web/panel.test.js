import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { answer, citation, passage, row, turn } from "./fake_answers.js";
import { FakeElement, openPage } from "./fake_page.js";

const root = openPage("panel", "panel-body", "panel-title");
const [panel, body] = root.childNodes;
const { closePanel, openPanel, passagesOf, placeOf, rowOf } = await import("../../service/web/panel.js");
const marks = () => body.querySelectorAll("mark").map((each) => each.textContent);
const headings = () => body.querySelectorAll("h3").map((each) => each.textContent);
const facts = () => Object.fromEntries(pairs(body.querySelector("dl").childNodes.map((each) => each.textContent)));

function pairs(items) {
  return items.flatMap((each, at) => (at % 2 ? [[items[at - 1], each]] : []));
}

beforeEach(() => {
  panel.hidden = true;
});

test("the passages are the answer's, or those that came before it, or after a refusal the nearest", () => {
  const own = [passage("k7f2")];
  assert.equal(passagesOf(turn({ passages: own })).length, 2);
  assert.equal(passagesOf(turn({ answer: null, passages: own })), own);
  assert.equal(passagesOf(turn({ answer: answer({ passages: [] }), nearest: own })), own);
  assert.deepEqual(passagesOf(turn({ answer: null, nearest: null })), []);
});

test("a place names source, key, heading and page, as far as they say something", () => {
  assert.equal(placeOf(passage("k7f2", { page: 3 })), "docs · Edmonton · Page 3");
  assert.equal(placeOf(passage("k7f2", { context: "Guide > Stores" })), "docs");
  assert.equal(placeOf(row("a1b2", { context: "x > y", primary_key: { a: 1, b: 2 } })), "shop · a = 1, b = 2");
});

test("a row's text is its caption and fields, of which a value may go over several lines", () => {
  const fields = [["Album id", "4"], ["Title", "Let There Be Rock"], ["Notes", "one\ntwo"]]; // prettier-ignore
  assert.deepEqual(rowOf(row("a1b2")), { caption: "Album", fields });
});

test("a row's later part has no caption, and may begin inside a value", () => {
  const found = rowOf({ text: "rest of a value\nEmpty:\nUrl: http://x: y", start: 90 });
  const fields = [["", "rest of a value"], ["Empty", ""], ["Url", "http://x: y"]]; // prettier-ignore
  assert.deepEqual(found, { caption: "", fields });
});

test("a page is shown with the quotes of its citations marked, also where they overlap", () => {
  const citations = [citation("k7f2", { start: 4, end: 9 }), citation("k7f2", { start: 0, end: 6 })];
  openPanel(turn({ answer: answer({ citations }) }), passage("k7f2"));
  assert.deepEqual(marks(), ["The st", "ore"]);
  assert.equal(body.querySelector(".passage").textContent, "The store opens at 11.");
});

test("a citation that was clicked marks its own quote only, also behind wide characters", () => {
  const found = passage("k7f2", { text: "😀 The store", start: 100 });
  openPanel(turn(), found, citation("k7f2", { start: 102, end: 111 }));
  assert.deepEqual(marks(), ["The store"]);
});

test("a row is a table in which its key is named and what the answer says is marked", () => {
  const given = answer({ text: "Let There Be Rock [a1b2].", citations: [citation("a1b2")] });
  openPanel(turn({ answer: given }), row("a1b2"));
  assert.deepEqual(marks(), ["Let There Be Rock"]);
  assert.equal(body.querySelector("th").textContent, "Field");
  assert.deepEqual(body.querySelectorAll(".badge").map((each) => each.textContent), ["key"]); // prettier-ignore
});

test("all of a row is marked where the answer says none of its values, and nothing where it is not cited", () => {
  openPanel(turn({ answer: answer({ text: "Yes [a1b2].", citations: [citation("a1b2")] }) }), row("a1b2"));
  assert.equal(marks().length, 3);
  openPanel(turn(), row("a1b2"));
  assert.deepEqual(marks(), []);
});

test("what is known of a passage stands below it", () => {
  openPanel(turn(), passage("k7f2", { page: 3, cut: true }));
  const known = { Source: "docs", Page: "3", Label: "k7f2", Version: "v1" };
  assert.deepEqual(facts(), { ...known, Location: "file:///docs/stores.md Copy" });
  assert.ok(body.textContent.includes("Only the beginning fit into the prompt."));
});

test("a page stands under its heading, and a row without a caption is called a row", () => {
  const context = () => body.querySelector("article").querySelector("p")?.textContent;
  openPanel(turn(), passage("k7f2"));
  assert.equal(context(), "Stores > Edmonton");
  openPanel(turn(), row("a1b2", { context: "Album" }));
  assert.deepEqual([context(), body.querySelector("caption").textContent], [undefined, "Album"]);
  openPanel(turn(), row("a1b2", { text: "Title: x" }));
  assert.equal(body.querySelector("caption").textContent, "Row");
});

test("a place on the web is a link, and a key and the value it is for are named", () => {
  openPanel(turn(), row("a1b2"), citation("a1b2", { pointer: "/title" }));
  const known = { Source: "shop", Key: "AlbumId = 4", "JSON pointer": "/title", Label: "a1b2", Version: "v1" };
  assert.deepEqual(facts(), { ...known, Location: "Open (shop.example)" });
  openPanel(turn(), passage("k7f2", { uri: "mailto:a@b.c" }));
  assert.equal(body.querySelector("a"), null);
});

test("the passages are listed as used and not used, the open one marked", () => {
  openPanel(turn({ numbers: { k7f2: 1 } }), passage("none"));
  assert.deepEqual(headings(), ["Stores", "Used (1)", "Found, not used (1)"]);
  const given = turn({ numbers: { k7f2: 1 } });
  openPanel(given, given.answer.passages[1]);
  const choices = body.querySelectorAll(".passage-choice");
  assert.deepEqual(choices.map((each) => each.getAttribute("aria-current")), [null, "true"]); // prettier-ignore
  assert.equal(choices[0].textContent, "1Storesdocs · EdmontonScore 0.5 · dense 0.4");
});

test("another choice of the same list shows its passage, and the list stays", async () => {
  const given = turn();
  openPanel(given, given.answer.passages[0]);
  const [list] = body.querySelectorAll("section");
  await body.querySelectorAll(".passage-choice")[1].click();
  assert.deepEqual([headings()[0], body.querySelectorAll("section")[0] === list], ["Album 4", true]);
});

test("the list is made again once the answer is complete", () => {
  const given = turn({ answer: null, passages: [passage("k7f2")] });
  openPanel(given, given.passages[0]);
  assert.equal(headings()[1], "Used (0)");
  given.answer = answer();
  openPanel(given, given.answer.passages[0]);
  assert.equal(headings()[1], "Used (1)");
});

test("the panel is closed once, and the focus goes back to what opened it", () => {
  const opener = new FakeElement("button");
  root.append(opener);
  opener.focus();
  openPanel(turn(), passage("k7f2"));
  assert.equal(document.activeElement.id, "panel-title");
  assert.deepEqual([closePanel(), closePanel(), document.activeElement === opener], [true, false, true]);
  openPanel(turn(), passage("k7f2"));
  opener.remove();
  document.activeElement = null;
  closePanel();
  assert.equal(document.activeElement, null); // what opened it is gone
});
