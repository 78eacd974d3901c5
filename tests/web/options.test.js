import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { openPage } from "./fake_page.js";

const KEPT = "citewell-options";
const CALLER = {
  sources: ["docs", "shop"],
  asking: { profiles: { chat: 8192, book: 131072 }, profile: "chat", max_tokens: 512, writes: true },
};
const root = openPage("options");
const [box] = root.childNodes;
const { asked, drawOptions } = await import("../../service/web/options.js");
const find = (selector) => box.querySelector(selector);
const summary = () => find("summary").textContent;

beforeEach(async () => {
  drawOptions(CALLER);
  await find("button").click(); // back to the defaults
  box.open = false;
});

/** Fill in fields by their name, as a reader does. */
async function fill(values) {
  for (const [name, value] of Object.entries(values)) {
    const field = find(`#option-${name}`);
    if (typeof value === "boolean") field.checked = value;
    else field.value = value;
  }
  await box.fire("input");
}

async function choose(...names) {
  for (const each of box.querySelectorAll("input[name=source]")) each.checked = names.includes(each.value);
  await box.fire("input");
}

test("fields that are empty are left out of the request", () => {
  assert.deepEqual([asked(), summary()], [{}, "Options"]);
});

test("numbers are sent as numbers, and the context length by its name", async () => {
  await fill({ max_tokens: "100", temperature: "0", top_p: "0.5", max_passages: "7", profile: "book" });
  const expected = { max_tokens: 100, temperature: 0, top_p: 0.5, max_passages: 7, profile: "book" };
  assert.deepEqual([asked(), summary()], [expected, "Options (5 set)"]);
});

test("sources are sent where some are chosen", async () => {
  await choose("shop");
  assert.deepEqual(asked(), { sources: ["shop"] });
  await choose();
  assert.deepEqual(asked(), {});
});

test("a filter is sent as the object that it is", async () => {
  await fill({ filter: ' {"table": "Album"} ' });
  assert.deepEqual(asked(), { filter: { table: "Album" } });
});

for (const text of ["{oops", "[1]", "null", '"text"', "7"]) {
  test(`a filter that says ${text} is marked and asks nothing`, async () => {
    await fill({ filter: text });
    assert.equal(asked(), null);
    assert.equal(find("#option-filter").getAttribute("aria-invalid"), "true");
    assert.deepEqual([find("#error-filter").hidden, box.open], [false, true]);
    assert.equal(document.activeElement, find("#option-filter"));
  });
}

test("the mark goes when the filter is right", async () => {
  await fill({ filter: "{oops" });
  asked();
  await fill({ filter: "{}" });
  assert.deepEqual([asked(), find("#error-filter").hidden], [{ filter: {} }, true]);
  assert.equal(find("#option-filter").getAttribute("aria-invalid"), "false");
});

test("a number out of its range asks nothing", async () => {
  find("#option-top_p").invalid = true;
  assert.deepEqual([asked(), document.activeElement], [null, find("#option-top_p")]);
});

test("an answer in JSON is of any form, or of the schema's", async () => {
  await fill({ json: true });
  assert.deepEqual(asked(), { response_format: { type: "json_object" } });
  await fill({ schema: '{"type": "object"}' });
  const expected = { type: "json_schema", json_schema: { schema: { type: "object" } } };
  assert.deepEqual(asked(), { response_format: expected });
});

test("a schema counts only while JSON is chosen, and is shown only then", async () => {
  const field = () => find("#option-schema").closest(".field").hidden;
  await fill({ json: true, schema: "{oops" });
  assert.deepEqual([asked(), field()], [null, false]);
  await fill({ json: false });
  assert.deepEqual([asked(), field()], [{}, true]);
});

test("what was chosen is kept, also when the options are drawn again", async () => {
  await fill({ max_tokens: "100", profile: "book", filter: '{"a": 1}' });
  drawOptions();
  const values = ["max_tokens", "profile", "filter"].map((name) => find(`#option-${name}`).value);
  assert.deepEqual([values, summary()], [["100", "book", '{"a": 1}'], "Options (3 set)"]);
  assert.equal(JSON.parse(localStorage.getItem(KEPT)).max_tokens, "100");
});

test("a source or context length that the caller no longer has is forgotten", async () => {
  await fill({ profile: "book" });
  await choose("docs", "shop");
  drawOptions({ sources: ["docs", "new"], asking: { ...CALLER.asking, profiles: { chat: 8192 } } });
  assert.deepEqual(asked(), { sources: ["docs"] });
});

test("who has not signed in yet loses nothing that was chosen", async () => {
  await fill({ profile: "book" });
  drawOptions(null);
  drawOptions(CALLER);
  assert.deepEqual(asked(), { profile: "book" });
});

test("the default context length is named once it is known", () => {
  const standard = () => find("#option-profile").querySelector("option").textContent;
  assert.equal(standard(), "default: chat");
  drawOptions(null);
  assert.equal(standard(), "default");
});

test("one source is nothing to choose from", () => {
  drawOptions({ ...CALLER, sources: ["docs"] });
  assert.equal(find("fieldset"), null);
});

test("JSON is offered where a language model writes", () => {
  drawOptions({ ...CALLER, asking: { ...CALLER.asking, writes: false } });
  assert.deepEqual([find("#option-json"), find("#option-schema")], [null, null]);
});

test("reset empties all, also what was kept", async () => {
  await fill({ max_tokens: "100", json: true });
  await find("button").click();
  assert.deepEqual([asked(), summary(), localStorage.getItem(KEPT)], [{}, "Options", null]);
});

for (const [kept, expected] of [
  ["{oops", {}],
  ['{"max_tokens":"9"}', { max_tokens: 9 }],
]) {
  // prettier-ignore
  test(`a page that finds ${kept} in the browser starts from it as far as it can be read`, async () => {
    localStorage.setItem(KEPT, kept);
    const fresh = await import(`../../service/web/options.js?${encodeURIComponent(kept)}`);
    fresh.drawOptions(CALLER);
    assert.deepEqual(fresh.asked(), expected);
    localStorage.removeItem(KEPT);
  });
}
