import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import { openPage } from "./fake_page.js";

const WEB = new URL("../../service/web/", import.meta.url);
const root = openPage("ask", "box", "theme");
const speaks = (name) =>
  Object.defineProperty(globalThis, "navigator", { value: { language: name }, configurable: true });
speaks("en-GB");
const language = await import("../../service/web/language.js");
const { duration, languageName, LANGUAGES, nameIn, number, setLanguage, startLanguage, t, WORDS } = language;

/** Every word of a language by its path: groups are opened. */
const all = (words) =>
  Object.entries(words).flatMap(([name, word]) =>
    typeof word === "object" ? Object.entries(word).map(([inner, text]) => [`${name}.${inner}`, text]) : [[name, word]],
  );
const english = new Map(all(WORDS.en));

for (const [code, words] of Object.entries(WORDS)) {
  const own = new Map(all(words));

  test(`${code} has the words that English has, in the same order`, () => {
    assert.deepEqual([...own.keys()], [...english.keys()]);
  });

  test(`${code} puts in every value that English puts in`, () => {
    const report = { read: "<r>", added: "<a>", updated: "<u>", unchanged: "<n>", deleted: "<d>" };
    for (const [name, word] of own) {
      const other = english.get(name);
      assert.equal(typeof word, typeof other, name);
      if (typeof word !== "function") continue;
      const given = name === "report" ? [report] : Array.from({ length: other.length }, (_, at) => `<${at}>`);
      const values = (text) => text.match(/<\w>/g)?.sort();
      assert.deepEqual(values(word(...given)), values(other(...given)), name);
    }
  });

  test(`${code} has no empty word, and none that ends in a space but before a quote`, () => {
    for (const [name, word] of own) {
      if (typeof word !== "string") continue;
      assert.ok(word.trim(), name);
      assert.ok(word === word.trimEnd() || name === "searchedFor", name);
    }
  });
}

test("every Chinese word is in Chinese", () => {
  const kept = ["topP", "maxTokens", "json", "schema"]; // names that Chinese products write in Latin letters
  for (const [name, word] of all(WORDS.zh)) {
    if (typeof word === "string" && !kept.includes(name)) assert.match(word, /\p{Script=Han}/u, name);
  }
});

test("each language has its own name", () => {
  assert.deepEqual(Object.keys(LANGUAGES), Object.keys(WORDS));
});

test("the browser's language is spoken, or English where it is another", () => {
  for (const [browser, expected] of [
    ["zh-TW", "zh"],
    ["zh", "zh"],
    ["de-DE", "en"],
    ["en", "en"],
  ]) {
    // prettier-ignore
    speaks(browser);
    startLanguage();
    assert.equal(language.language, expected, browser);
  }
});

test("the language that was chosen before goes before the browser's", () => {
  speaks("en");
  setLanguage("zh");
  startLanguage();
  assert.deepEqual([language.language, document.documentElement.lang], ["zh", "zh-CN"]);
  localStorage.removeItem("citewell-language");
});

test("a language that is not there is English", () => {
  setLanguage("xx");
  assert.deepEqual([language.language, localStorage.getItem("citewell-language")], ["en", "en"]);
  localStorage.setItem("citewell-language", "yy");
  startLanguage();
  assert.equal(language.language, "en");
});

test("the page's own elements get their text, label and placeholder", () => {
  const [ask, box, theme] = root.childNodes;
  ask.dataset.t = "ask";
  box.dataset.tPlaceholder = "placeholder";
  theme.dataset.tLabel = "theme";
  setLanguage("zh");
  const shown = [ask.textContent, box.getAttribute("placeholder"), theme.getAttribute("aria-label")];
  assert.deepEqual(shown, [WORDS.zh.ask, WORDS.zh.placeholder, WORDS.zh.theme]);
  setLanguage("en");
});

test("one sentence without a source, and several, are said right", () => {
  assert.deepEqual(
    [t("uncited", 1), t("uncited", 2)].map((text) => text.split(".")[0]),
    ["1 sentence has no source", "2 sentences have no source"],
  );
});

test("where was searched names the filter, if there is one", () => {
  assert.equal(t("searchedIn", "docs", ""), " in docs.");
  assert.equal(t("searchedIn", "docs", "{}"), " in docs, with the filter {}.");
  assert.ok(!WORDS.zh.searchedIn("docs", "").includes("筛选条件"));
});

test("a run's figures count the documents that were fetched, or else those that were read", () => {
  const counts = { read: 9, added: 1, updated: 2, unchanged: 3, deleted: 4 };
  assert.equal(t("report", counts), "9 read, 1 added, 2 updated, 3 unchanged, 4 deleted");
  assert.ok(t("report", { ...counts, fetched: 0 }).startsWith("0 read"));
});

test("a status or kind without a word stands for itself", () => {
  assert.deepEqual([nameIn("statuses", "broken"), nameIn("statuses", "dry-run")], ["interrupted", "dry-run"]);
  assert.equal(nameIn("kinds", "engine"), "language model");
});

test("a duration has its two largest units", () => {
  const shown = [0, 0.25, 1, 59.9, 60, 61, 3600, 3661, 86400, 90061].map(duration);
  const expected = ["0 ms", "250 ms", "1 s", "59 s", "1 min", "1 min 1 s", "1 h", "1 h 1 min", "1 d", "1 d 1 h"];
  assert.deepEqual(shown, expected);
});

test("numbers, durations and languages are written as the chosen language writes them", () => {
  assert.deepEqual([number(1234.56), number(1234.56, 1), languageName("zh")], ["1,235", "1,234.6", "Chinese"]);
  setLanguage("zh");
  assert.deepEqual([duration(61), languageName("en")], ["1 分钟 1 秒", "英语"]);
  setLanguage("en");
});

test("the page says in English what the words say, until its script runs", async () => {
  const page = await readFile(new URL("index.html", WEB), "utf8");
  for (const [, name, text] of page.matchAll(/data-t="(\w+)"[^>]*>([^<]*)</g)) assert.equal(text, WORDS.en[name], name);
  for (const [, name, text] of page.matchAll(/data-t-placeholder="(\w+)" placeholder="([^"]*)"/g)) {
    assert.equal(text, WORDS.en[name], name);
  }
});

test("the page loads early every module that it will ask for", async () => {
  const page = await readFile(new URL("index.html", WEB), "utf8");
  const early = [...page.matchAll(/\{version\}\/([\w/-]+\.m?js)"/g)].map(([, name]) => name);
  const own = (await readdir(WEB, { recursive: true })).filter((name) => /(?<!\.d)\.m?js$/.test(name));
  assert.deepEqual(early.sort(), own.filter((name) => name !== "docs.js").sort());
});

test("no line of the page is longer than 160 characters", async () => {
  for (const name of await readdir(WEB, { recursive: true })) {
    if (!/\.(js|ts|css|html)$/.test(name) || name.startsWith("vendor/")) continue;
    const lines = (await readFile(new URL(name, WEB), "utf8")).split("\n");
    for (const [at, line] of lines.entries()) assert.ok([...line].length <= 160, `${name}:${at + 1}`);
  }
});
