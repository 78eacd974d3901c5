import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { conversation, openDatabases } from "./fake_database.js";
import { openPage } from "./fake_page.js";

const root = openPage("dialog", "dialog-title", "dialog-body", "dialog-close");
const { showConversations } = await import("../../service/web/conversations.js");
const history = await import("../../service/web/history.js");
const [dialog, , body] = root.childNodes;
let opened;
let sure;

beforeEach(async () => {
  opened = [];
  sure = true;
  globalThis.confirm = () => sure;
  openDatabases();
  history.openFor("ann");
});

async function show(...kept) {
  for (const each of kept) await history.save(each);
  await showConversations((each) => opened.push(each.id));
}

const titles = () => body.querySelectorAll("bdi").map((each) => each.textContent);
const press = (look, at = 0) => body.querySelectorAll(`button.${look}`)[at].click();
const settled = () => new Promise(setImmediate);

test("an empty history says so, and offers nothing", async () => {
  await show();
  assert.deepEqual([body.textContent, body.querySelectorAll("button")], ["None yet.", []]);
});

test("conversations stand newest first", async () => {
  await show(conversation("a", 1), conversation("b", 2));
  assert.deepEqual(titles(), ["Question b", "Question a"]);
  assert.ok(body.textContent.startsWith("Stored only on this device."));
});

test("a title that hides text shows it", async () => {
  await show({ ...conversation("a", 1), title: "x\u202ey" });
  assert.equal(body.querySelector(".code-point").dataset.code, "U+202E");
});

test("one that is chosen is opened, and the dialog closes", async () => {
  await show(conversation("a", 1), conversation("b", 2));
  await press("link", 1);
  assert.deepEqual([opened, dialog.open], [["a"], false]);
});

test("one is deleted, the others stay and are shown", async () => {
  await show(conversation("a", 1), conversation("b", 2));
  await press("small");
  await settled();
  assert.deepEqual([titles(), (await history.list()).length], [["Question a"], 1]);
});

test("all are deleted", async () => {
  await show(conversation("a", 1), conversation("b", 2));
  await body.querySelectorAll(".buttons")[0].querySelectorAll("button")[1].click();
  await settled();
  assert.deepEqual([titles(), await history.list()], [[], []]);
});

test("nothing is deleted by who is not sure", async () => {
  sure = false;
  await show(conversation("a", 1));
  await press("small");
  await body.querySelectorAll(".buttons")[0].querySelectorAll("button")[1].click();
  assert.equal((await history.list()).length, 1);
});
