// How questions are asked: folded away, kept in this browser, and empty where the service's configuration holds.

import { el } from "./dom.js";
import { number, t } from "./language.js";

const KEPT = "citewell-options";
const EMPTY = { profile: "", max_tokens: "", temperature: "", top_p: "", max_passages: "", sources: [], filter: "", json: false, schema: "" };
const details = document.getElementById("options");
let chosen = read();
let me = null;

export function drawOptions(caller = me) {
  me = caller;
  const asking = me?.asking;
  const kept = chosen.sources.filter((name) => me?.sources.includes(name));
  if (me && kept.length < chosen.sources.length) chosen = { ...chosen, sources: kept }; // a source that is gone
  if (asking && !(chosen.profile in asking.profiles)) chosen = { ...chosen, profile: "" };
  const profiles = Object.entries(asking?.profiles ?? {}).map(([name, tokens]) => el("option", { value: name, selected: name === chosen.profile }, t("profileOf", name, number(tokens))));
  const standard = asking ? `${t("profileDefault")}: ${asking.profile}` : t("profileDefault");
  details.replaceChildren(
    summary(),
    el("p", { class: "quiet small" }, t("optionsNote")),
    el(
      "div", { class: "fields" },
      field("profile", t("profile"), el("select", { id: "option-profile" }, el("option", { value: "" }, standard), profiles)),
      numberField("max_tokens", t("maxTokens"), { min: 16, max: 8192, step: 1, placeholder: asking?.max_tokens }),
      numberField("max_passages", t("maxPassages"), { min: 1, max: 500, step: 1 }),
      numberField("temperature", t("temperature"), { min: 0, max: 2, step: 0.1, placeholder: asking?.temperature }),
      numberField("top_p", t("topP"), { min: 0.05, max: 1, step: 0.05, placeholder: asking?.top_p }),
    ),
    me?.sources.length > 1 ? el("fieldset", {}, el("legend", {}, t("searchIn")), me.sources.map((name) => el("label", { class: "check" }, el("input", { type: "checkbox", name: "source", value: name, checked: chosen.sources.includes(name) }), " ", name))) : null,
    textField("filter", t("filter"), t("filterHint")),
    asking?.writes ? el("label", { class: "check" }, el("input", { type: "checkbox", id: "option-json", checked: chosen.json }), " ", t("json")) : null,
    asking?.writes ? textField("schema", t("schema"), '{"type": "object", "properties": {…}}', !chosen.json) : null,
    el("button", { type: "button", class: "plain small", onclick: reset }, t("reset")),
  );
}

/** The fields of a request's body. Null where one cannot be read: it is marked, and gets the focus. */
export function asked() {
  const body = {};
  for (const name of ["max_tokens", "temperature", "top_p", "max_passages"]) {
    const input = details.querySelector(`#option-${name}`);
    if (input && !input.checkValidity()) return refuse(input);
    if (chosen[name] !== "") body[name] = Number(chosen[name]);
  }
  if (chosen.profile) body.profile = chosen.profile;
  if (chosen.sources.length) body.sources = chosen.sources;
  for (const [name, wanted] of [["filter", true], ["schema", chosen.json]]) {
    const input = details.querySelector(`#option-${name}`);
    const value = wanted && chosen[name].trim() ? objectIn(chosen[name]) : undefined;
    input?.setAttribute("aria-invalid", String(value === null));
    const error = details.querySelector(`#error-${name}`);
    if (error) error.hidden = value !== null;
    if (value === null) return refuse(input);
    if (name === "filter" && value) body.filter = value;
    if (name === "schema" && wanted) body.response_format = value ? { type: "json_schema", json_schema: { schema: value } } : { type: "json_object" };
  }
  return body;
}

function refuse(input) {
  details.open = true;
  input.focus();
  input.reportValidity?.();
  return null;
}

function objectIn(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

function summary() {
  const count = Object.entries(chosen).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(EMPTY[name])).length;
  return el("summary", {}, count ? t("optionsSet", count) : t("options"));
}

function field(name, label, input) {
  return el("div", { class: "field" }, el("label", { for: `option-${name}` }, label), input);
}

function numberField(name, label, range) {
  return field(name, label, el("input", { type: "number", id: `option-${name}`, value: chosen[name], ...range }));
}

function textField(name, label, hint, hidden = false) {
  const area = el("textarea", { id: `option-${name}`, rows: 2, spellcheck: "false", "aria-describedby": `error-${name}`, placeholder: hint });
  area.value = chosen[name];
  const error = el("p", { id: `error-${name}`, class: "bad small", hidden: true }, t("badJson"));
  return el("div", { class: "field whole", hidden }, el("label", { for: `option-${name}` }, label), area, error);
}

details.addEventListener("input", () => {
  const value = (name) => details.querySelector(`#option-${name}`)?.value ?? "";
  chosen = {
    ...Object.fromEntries(["profile", "max_tokens", "temperature", "top_p", "max_passages", "filter", "schema"].map((name) => [name, value(name)])),
    sources: [...details.querySelectorAll("input[name=source]:checked")].map((box) => box.value),
    json: details.querySelector("#option-json")?.checked ?? false,
  };
  const schema = details.querySelector("#option-schema")?.closest(".field");
  if (schema) schema.hidden = !chosen.json;
  details.querySelector("summary").replaceWith(summary());
  localStorage.setItem(KEPT, JSON.stringify(chosen));
});

function reset() {
  chosen = EMPTY;
  localStorage.removeItem(KEPT);
  drawOptions();
  details.querySelector("summary").focus();
}

function read() {
  try {
    return { ...EMPTY, ...JSON.parse(localStorage.getItem(KEPT) ?? "{}") };
  } catch {
    return EMPTY;
  }
}
