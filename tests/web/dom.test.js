import assert from "node:assert/strict";
import { test } from "node:test";
import { html, openPage } from "./fake_page.js";

openPage();
const { button, copy, el, link, safeUrl, utf16, visible, wide } = await import("../../service/web/dom.js");

test("an attribute that is true stands without a value, and one that is false, null or undefined does not stand", () => {
  const made = el("input", { hidden: true, checked: false, max: null, min: undefined, step: 0 });
  assert.equal(html(made), '<input hidden="" step="0"></input>');
});

test("children are texts and elements, also in a list, and what is false is left out", () => {
  assert.equal(html(el("p", {}, "a", ["b", el("b", {}, "c")], null, undefined, false, "")), "<p>ab<b>c</b></p>");
});

test("a button calls what it was given", async () => {
  const pressed = [];
  const made = button("plain", () => pressed.push("yes"), "Go", { "data-at": 2 });
  await made.click();
  assert.deepEqual([html(made), pressed], ['<button type="button" class="plain" data-at="2">Go</button>', ["yes"]]);
});

test("what scrolls by itself can be reached with the keyboard and has a name", () => {
  assert.equal(html(wide("Row", "x")), '<div class="wide" tabindex="0" role="group" aria-label="Row">x</div>');
});

test("characters that reorder or hide text are shown by their code", () => {
  const code = (name) => `<span class="code-point" data-code="${name}" title="${name}"></span>`;
  const shown = (text) => html(...visible(text));
  assert.equal(shown("a\u202eb"), `a${code("U+202E")}b`);
  assert.equal(visible("\u202e").length, 1);
  assert.equal(shown("\u0000\u200b\u2066\ufeff"), ["U+0000", "U+200B", "U+2066", "U+FEFF"].map(code).join(""));
  assert.equal(shown("x\u{e0041}\u{e0042}"), `x${code("U+E0041")}`); // a run of tags by its first
});

test("line breaks, tabs and other scripts stay as they are", () => {
  assert.deepEqual(visible("a\n\tb 员工 😀"), ["a\n\tb 员工 😀"]);
});

test("links lead to the web and to mail, and nowhere else", () => {
  const allowed = ["https://a.example/x", "http://a.example", "mailto:a@b.c"];
  const forbidden = ["javascript:alert(1)", "JaVa\nscript:x", "data:text/html,x", "file:///etc/passwd", "//a.example"];
  assert.ok(allowed.every((each) => safeUrl(each)));
  assert.ok(["", "/x", "null", "blob:x", "vbscript:x", ...forbidden].every((each) => safeUrl(each) === null));
});

test("a link shows its host, unless its text does", () => {
  const shown = (address, text) => link(safeUrl(address), text).map((each) => each.textContent);
  assert.deepEqual(shown("https://a.example/x", "here"), ["here", " (a.example)"]);
  assert.deepEqual(shown("https://a.example/x", "see a.example"), ["see a.example"]);
  assert.deepEqual(shown("mailto:a@b.c", "write"), ["write", " (a@b.c)"]);
});

test("a link opens apart and tells its target nothing of the page", () => {
  const [anchor] = link(safeUrl("https://a.example/"), "a.example");
  assert.equal(
    html(anchor),
    '<a href="https://a.example/" target="_blank" rel="noopener noreferrer nofollow">a.example</a>',
  );
});

test("an offset in characters is turned into one of UTF-16 units", () => {
  assert.deepEqual(
    [0, 1, 2, 3, 9].map((at) => utf16("a😀b", at)),
    [0, 1, 3, 4, 4],
  );
});

test("text is copied without a secure context too, and a failure is an error", async () => {
  Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true });
  document.body = el("body");
  document.execCommand = () => true;
  await copy("text");
  assert.equal(html(document.body), "<body></body>"); // what it was copied from is gone
  document.execCommand = () => false;
  await assert.rejects(copy("text"));
});

test("text goes to the clipboard where there is one", async () => {
  const written = [];
  const clipboard = { writeText: async (text) => written.push(text) };
  Object.defineProperty(globalThis, "navigator", { value: { clipboard }, configurable: true });
  await copy("text");
  assert.deepEqual(written, ["text"]);
});
