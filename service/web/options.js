// How questions are asked: folded away, kept in this browser, and empty where the service's configuration holds.

import { button, byId, el } from "./dom.js";
import { number, t } from "./language.js";

/** @import { Attribute } from "./dom.js" */
/** @import { AskOptions, Caller, Chosen } from "./types.js" */

const KEPT = "citewell-options";
/** @type {Chosen} */
const EMPTY = {
  profile: "",
  max_tokens: "",
  temperature: "",
  top_p: "",
  max_passages: "",
  sources: [],
  filter: "",
  json: false,
  schema: "",
};
const NUMBERS = /** @type {const} */ (["max_tokens", "temperature", "top_p", "max_passages"]);
const details = byId("options");
let chosen = read();
/** @type {Caller | null} */
let me = null;

/** Draw the options that a caller has. */
export function drawOptions(caller = me) {
  me = caller;
  chosen = within(chosen, me);
  const asking = me?.asking;
  const sources = me?.sources ?? [];
  details.replaceChildren(
    summary(),
    el("p", { class: "quiet small" }, t("optionsNote")),
    el(
      "div",
      { class: "fields" },
      profileField(),
      numberField("max_tokens", t("maxTokens"), { min: 16, max: 8192, step: 1, placeholder: asking?.max_tokens }),
      numberField("max_passages", t("maxPassages"), { min: 1, max: 500, step: 1 }),
      numberField("temperature", t("temperature"), { min: 0, max: 2, step: 0.1, placeholder: asking?.temperature }),
      numberField("top_p", t("topP"), { min: 0.05, max: 1, step: 0.05, placeholder: asking?.top_p }),
    ),
    ...(sources.length > 1 ? [sourceChoice(sources)] : []),
    textField("filter", t("filter"), t("filterHint")),
    ...(asking?.writes ? jsonFields() : []),
    button("plain small", reset, t("reset")),
  );
}

/** The fields of a request's body. Null where one cannot be read: it is marked, and gets the focus. */
export function asked() {
  for (const name of NUMBERS) {
    const input = inputOf(name);
    if (input && !input.checkValidity()) return refuse(input);
  }
  const wrong = unreadable(chosen);
  for (const name of /** @type {const} */ (["filter", "schema"])) {
    inputOf(name)?.setAttribute("aria-invalid", String(wrong.includes(name)));
    const error = /** @type {HTMLElement | null} */ (details.querySelector(`#error-${name}`));
    if (error) error.hidden = !wrong.includes(name);
  }
  return wrong.length ? refuse(inputOf(wrong[0])) : bodyOf(chosen);
}

/** The options without what the caller does not have: a source that is gone, a profile that is not allowed. */
function within(/** @type {Chosen} */ options, /** @type {Caller | null} */ caller) {
  if (!caller) return options;
  const profile = options.profile in caller.asking.profiles ? options.profile : "";
  return { ...options, profile, sources: options.sources.filter((name) => caller.sources.includes(name)) };
}

/**
 * The JSON fields that hold no object.
 * @returns {("filter" | "schema")[]}
 */
function unreadable(/** @type {Chosen} */ options) {
  const wrong = (/** @type {string} */ text) => Boolean(text.trim()) && !objectIn(text);
  /** @type {("filter" | "schema")[]} */
  const found = [];
  if (wrong(options.filter)) found.push("filter");
  if (options.json && wrong(options.schema)) found.push("schema");
  return found;
}

/** The fields of a request's body: those alone that are filled in. */
function bodyOf(/** @type {Chosen} */ options) {
  /** @type {AskOptions} */
  const body = {};
  for (const name of NUMBERS) if (options[name] !== "") body[name] = Number(options[name]);
  if (options.profile) body.profile = options.profile;
  if (options.sources.length) body.sources = options.sources;
  const filter = objectIn(options.filter);
  if (filter) body.filter = filter;
  const schema = objectIn(options.schema);
  if (options.json) {
    body.response_format = schema ? { type: "json_schema", json_schema: { schema } } : { type: "json_object" };
  }
  return body;
}

/** @returns {object | null} */
function objectIn(/** @type {string} */ text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

function refuse(/** @type {HTMLInputElement | null} */ input) {
  details.open = true;
  input?.focus();
  input?.reportValidity();
  return null;
}

function summary() {
  const names = /** @type {(keyof Chosen)[]} */ (Object.keys(EMPTY));
  const count = names.filter((name) => JSON.stringify(chosen[name]) !== JSON.stringify(EMPTY[name])).length;
  return el("summary", {}, count ? t("optionsSet", count) : t("options"));
}

/** @returns {HTMLInputElement | null} */
const inputOf = (/** @type {string} */ name) => details.querySelector(`#option-${name}`);

function profileField() {
  const asking = me?.asking;
  const standard = asking ? t("labelled", t("profileDefault"), asking.profile) : t("profileDefault");
  const profiles = Object.entries(asking?.profiles ?? {}).map(([name, tokens]) =>
    el("option", { value: name, selected: name === chosen.profile }, t("profileOf", name, number(tokens))),
  );
  const select = el("select", { id: "option-profile" }, el("option", { value: "" }, standard), profiles);
  return field("profile", t("profile"), select);
}

function sourceChoice(/** @type {string[]} */ names) {
  const choices = names.map((name) => {
    const box = { type: "checkbox", name: "source", value: name, checked: chosen.sources.includes(name) };
    return el("label", { class: "check" }, el("input", box), " ", name);
  });
  return el("fieldset", {}, el("legend", {}, t("searchIn")), choices);
}

function jsonFields() {
  const box = el("input", { type: "checkbox", id: "option-json", checked: chosen.json });
  return [
    el("label", { class: "check" }, box, " ", t("json")),
    textField("schema", t("schema"), '{"type": "object", "properties": {…}}', !chosen.json),
  ];
}

/**
 * @param {string} name
 * @param {string} label
 * @param {HTMLElement} input
 */
function field(name, label, input) {
  return el("div", { class: "field" }, el("label", { for: `option-${name}` }, label), input);
}

/**
 * @param {typeof NUMBERS[number]} name
 * @param {string} label
 * @param {Record<string, Attribute>} range
 */
function numberField(name, label, range) {
  return field(name, label, el("input", { type: "number", id: `option-${name}`, value: chosen[name], ...range }));
}

/**
 * @param {"filter" | "schema"} name
 * @param {string} label
 * @param {string} hint
 */
function textField(name, label, hint, hidden = false) {
  const area = el("textarea", {
    id: `option-${name}`,
    rows: 2,
    spellcheck: "false",
    "aria-describedby": `error-${name}`,
    placeholder: hint,
  });
  area.value = chosen[name];
  const error = el("p", { id: `error-${name}`, class: "bad small", hidden: true }, t("badJson"));
  return el("div", { class: "field whole", hidden }, el("label", { for: `option-${name}` }, label), area, error);
}

details.addEventListener("input", () => {
  const value = (/** @type {string} */ name) => inputOf(name)?.value ?? "";
  /** @type {NodeListOf<HTMLInputElement>} */
  const sources = details.querySelectorAll("input[name=source]:checked");
  chosen = {
    profile: value("profile"),
    max_tokens: value("max_tokens"),
    temperature: value("temperature"),
    top_p: value("top_p"),
    max_passages: value("max_passages"),
    filter: value("filter"),
    schema: value("schema"),
    sources: [...sources].map((box) => box.value),
    json: inputOf("json")?.checked ?? false,
  };
  const schema = /** @type {HTMLElement | null | undefined} */ (inputOf("schema")?.closest(".field"));
  if (schema) schema.hidden = !chosen.json;
  details.querySelector("summary")?.replaceWith(summary());
  localStorage.setItem(KEPT, JSON.stringify(chosen));
});

function reset() {
  chosen = EMPTY;
  localStorage.removeItem(KEPT);
  drawOptions();
  details.querySelector("summary")?.focus();
}

/** @returns {Chosen} */
function read() {
  try {
    return { ...EMPTY, ...JSON.parse(localStorage.getItem(KEPT) ?? "{}") };
  } catch {
    return EMPTY;
  }
}
