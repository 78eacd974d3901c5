import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { conversation, openDatabases } from "./fake_database.js";

const history = await import("../../service/web/history.js");
const ids = async () => (await history.list()).map((each) => each.id);

beforeEach(() => {
  openDatabases();
  history.openFor("ann");
});

test("conversations are listed newest first", async () => {
  for (const [id, at] of [["a", 1], ["c", 3], ["b", 2]]) await history.save(conversation(id, at)); // prettier-ignore
  assert.deepEqual(await ids(), ["c", "b", "a"]);
});

test("a conversation that goes on is kept once, as it is now", async () => {
  await history.save(conversation("a", 1));
  await history.save(conversation("a", 2));
  assert.deepEqual(await history.list(), [conversation("a", 2)]);
});

test("each key has a history of its own", async () => {
  await history.save(conversation("a", 1));
  history.openFor("bob");
  assert.deepEqual(await ids(), []);
  history.openFor("ann");
  assert.deepEqual(await ids(), ["a"]);
});

test("the oldest goes when there are more than 200", async () => {
  for (let at = 1; at <= 201; at++) assert.ok(await history.save(conversation(`n${at}`, at)));
  const kept = await ids();
  assert.deepEqual([kept.length, kept[0], kept.at(-1)], [200, "n201", "n2"]);
});

test("one conversation is removed, or all", async () => {
  for (const id of ["a", "b", "c"]) await history.save(conversation(id, 1));
  await history.remove("b");
  assert.deepEqual(await ids(), ["a", "c"]);
  await history.clear();
  assert.deepEqual(await ids(), []);
});

test("while nobody is known nothing is kept, which is no failure", async () => {
  history.openFor("");
  assert.ok(await history.save(conversation("a", 1)));
  assert.deepEqual(await ids(), []);
  await history.remove("a");
  await history.clear();
});

test("a browser that keeps nothing says so when saving, and lists nothing", async () => {
  openDatabases({ broken: true });
  history.openFor("ann");
  assert.equal(await history.save(conversation("a", 1)), false);
  assert.deepEqual(await ids(), []);
});
