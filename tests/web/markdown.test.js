import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeElement, html, openPage } from "./fake_page.js";

openPage();
const { el } = await import("../../service/web/dom.js");
const { LiveMarkdown, LABELS, plainText } = await import("../../service/web/markdown.js");
const citing = { cite: (label) => el("cite", {}, label), isLabel: (text) => text === "k7f2" || text === "a1b2" };

function shown(...texts) {
  const box = new FakeElement("div");
  const live = new LiveMarkdown(box, citing);
  for (const text of texts) live.update(text);
  return html(...box.childNodes);
}

test("a label becomes a citation, also twice, and beside other words", () => {
  assert.equal(shown("Open at 11 [k7f2][a1b2]."), "<p>Open at 11 <cite>k7f2</cite><cite>a1b2</cite>.</p>");
});

test("a label that no passage has stays text", () => {
  assert.equal(shown("Open [z9z9] and [note] and [k7f2"), "<p>Open [z9z9] and [note] and [k7f2</p>");
});

test("a label is a citation where Markdown would make it a link", () => {
  assert.equal(shown("[k7f2](https://a.example)"), "<p><cite>k7f2</cite>(https://a.example)</p>");
  assert.ok(!shown("See [k7f2].\n\n[k7f2]: https://a.example").includes("<a "));
});

test("a label in code is code", () => {
  assert.equal(shown("`[k7f2]`"), "<p><code>[k7f2]</code></p>");
});

test("HTML is text", () => {
  assert.equal(shown("<b>x</b> <script>y</script>"), "<p><b>x</b> <script>y</script></p>"); // in text nodes
  const box = new FakeElement("div");
  new LiveMarkdown(box, citing).update("<img src=x onerror=hit()>");
  assert.deepEqual([...box.below()].map((each) => each.tagName), ["p"]); // prettier-ignore
});

test("emphasis, code, lists and quotes become their elements", () => {
  assert.equal(shown("**a** *b* ~~c~~ `d`"), "<p><strong>a</strong> <em>b</em> <s>c</s> <code>d</code></p>");
  assert.equal(shown("- a\n- b"), "<ul><li>a</li><li>b</li></ul>");
  assert.equal(shown("3. a\n4. b"), '<ol start="3"><li>a</li><li>b</li></ol>');
  assert.equal(shown("> a"), "<blockquote><p>a</p></blockquote>");
  assert.equal(shown("a\nb  \nc"), "<p>a<br></br>b<br></br>c</p>");
  assert.equal(shown("a\n\n---"), "<p>a</p><hr></hr>");
});

test("code blocks can be scrolled with the keyboard", () => {
  const expected = '<pre tabindex="0"><code>a &lt; b\n</code></pre>'.replace("&lt;", "<");
  assert.equal(shown("```js\na < b\n```"), expected);
  assert.equal(shown("    a < b\n"), expected.replace("\n", "\n"));
});

test("headings stand below the page's own", () => {
  assert.equal(shown("# a\n\n### b\n\n###### c"), "<h3>a</h3><h5>b</h5><h6>c</h6>");
});

test("a table can be scrolled by itself", () => {
  const table = shown("| a |\n|---|\n| b [k7f2] |");
  assert.ok(table.startsWith('<div class="wide" tabindex="0" role="group"><table><thead><tr><th>a</th></tr></thead>'));
  assert.ok(table.includes("<td>b <cite>k7f2</cite></td>"));
});

test("links lead to the web and mail only, and show where to", () => {
  const good = shown("[here](https://a.example/x)");
  assert.ok(good.includes('href="https://a.example/x"') && good.includes("(a.example)"));
  assert.equal(shown("[here](/etc/passwd)"), '<p><span class="dead-link">here</span></p>');
  assert.ok(!shown("[here](javascript:alert(1))").includes("<a "));
});

test("a picture is a link and is never loaded", () => {
  const shownPicture = shown("![cat](https://a.example/c.png)");
  assert.ok(shownPicture.includes(">🖼 cat</a>") && !shownPicture.includes("<img"));
});

test("characters that hide text are shown by their code in text and code", () => {
  assert.ok(shown("a\u202eb").includes('data-code="U+202E"'));
  assert.ok(shown("`a\u200bb`").includes('data-code="U+200B"'));
});

const LONG =
  "# Title\n\nOne [k7f2]\nmore.\n\n- a\n- b\n\n  c\n\n```\ncode\n\nmore\n```\n\n| a |\n|---|\n| b |\n\n> q\n\nend [a1b2]";

test("a text that grows ends as it would have at once, however it comes", () => {
  const whole = shown(LONG);
  for (const step of [1, 3, 7]) {
    const texts = Array.from({ length: Math.ceil(LONG.length / step) }, (_, n) => LONG.slice(0, (n + 1) * step));
    assert.equal(shown(...texts), whole, `by ${step}`);
  }
});

test("blocks that are complete are not built again", () => {
  const box = new FakeElement("div");
  const live = new LiveMarkdown(box, citing);
  live.update("First.\n\nSecond.\n\nThi");
  const [first, second, third] = box.childNodes;
  live.update("First.\n\nSecond.\n\nThird.");
  assert.deepEqual([box.childNodes[0] === first, box.childNodes[1] === second], [true, true]);
  assert.notEqual(box.childNodes[2], third);
  assert.equal(box.textContent, "First.Second.Third.");
});

test("quotes are no Markdown, and their labels are citations", () => {
  const quote = "**Open** [k7f2]\nat [z9z9]";
  assert.equal(html(...plainText(quote, citing)), "**Open** <cite>k7f2</cite>\nat [z9z9]");
});

test("a label is two to eight pairs of a letter and a digit", () => {
  const labels = "[a1] [a1b2] [a1b2c3d4e5f6g7h8] [a1b2c3d4e5f6g7h8i9] [A1B2] [1a2b]".match(LABELS);
  assert.deepEqual(labels, ["[a1b2]", "[a1b2c3d4e5f6g7h8]"]);
});
