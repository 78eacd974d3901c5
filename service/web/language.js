// The interface's language: which one is chosen, its words, and how it writes numbers and times.

import { ENGLISH } from "./words/en.js";
import { CHINESE } from "./words/zh.js";

/** @import { Words } from "./words/en.js" */
/** @typedef {{ [K in keyof Words]: Words[K] extends string ? K : never }[keyof Words]} Text a word without values */

/** @type {Record<string, string>} */
export const LANGUAGES = { en: "English", zh: "中文" };
/** @type {Record<string, Words>} */
export const WORDS = { en: ENGLISH, zh: CHINESE };
/** @type {Record<string, string>} */
const LOCALES = { en: "en", zh: "zh-CN" };
const KEPT = "citewell-language";
/** @type {[keyof Words["units"], number][]} */
const UNITS = [
  ["d", 86400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
];

export let language = "en";

/** @param {string} wanted */
export function setLanguage(wanted) {
  language = wanted in WORDS ? wanted : "en";
  localStorage.setItem(KEPT, language);
  apply();
}

/** The language that was chosen before, or the browser's. */
export function startLanguage() {
  const chosen = localStorage.getItem(KEPT) ?? (navigator.language.startsWith("zh") ? "zh" : "en");
  language = chosen in WORDS ? chosen : "en";
  apply();
}

/**
 * A word, or a sentence with what it is given put in.
 * @template {Exclude<keyof Words, "kinds" | "statuses" | "units">} K
 * @param {K} name
 * @param {Words[K] extends (...given: infer Given) => string ? Given : []} given
 * @returns {string}
 */
export function t(name, ...given) {
  const found = /** @type {string | ((...given: any[]) => string)} */ (WORDS[language][name]);
  return typeof found === "function" ? found(...given) : found;
}

/** The name of one of a group: of the kind of a part, or the status of a run. One without a name stands for itself. */
export function nameIn(/** @type {"kinds" | "statuses"} */ group, /** @type {string} */ name) {
  /** @type {Record<string, string>} */
  const names = WORDS[language][group];
  return names[name] ?? name;
}

/** Say what the document's own elements say: data-t for text, data-t-label and data-t-placeholder for attributes. */
function apply() {
  document.documentElement.lang = LOCALES[language];
  for (const element of marked("data-t")) element.textContent = t(/** @type {Text} */ (element.dataset.t));
  for (const element of marked("data-t-label")) {
    element.setAttribute("aria-label", t(/** @type {Text} */ (element.dataset.tLabel)));
  }
  for (const element of marked("data-t-placeholder")) {
    element.setAttribute("placeholder", t(/** @type {Text} */ (element.dataset.tPlaceholder)));
  }
}

/** @returns {Iterable<HTMLElement>} */
const marked = (/** @type {string} */ attribute) => document.querySelectorAll(`[${attribute}]`);

export const number = (/** @type {number} */ value, digits = 0) =>
  value.toLocaleString(LOCALES[language], { maximumFractionDigits: digits });

export const time = (/** @type {number} */ seconds) =>
  new Date(seconds * 1000).toLocaleString(LOCALES[language], { dateStyle: "short", timeStyle: "medium" });

export const languageName = (/** @type {string} */ code) =>
  new Intl.DisplayNames([LOCALES[language]], { type: "language" }).of(code);

/**
 * Seconds as people say them: the two largest units.
 * @param {number} seconds
 */
export function duration(seconds) {
  const { units } = WORDS[language];
  if (seconds < 1) return `${number(seconds * 1000)} ${units.ms}`;
  const at = UNITS.findIndex(([, size]) => seconds >= size);
  const parts = [];
  for (const [unit, size] of UNITS.slice(at, at + 2)) {
    const count = Math.floor(seconds / size);
    if (count) parts.push(`${count} ${units[unit]}`);
    seconds -= count * size;
  }
  return parts.join(" ");
}
