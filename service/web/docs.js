// The REST API as its OpenAPI description tells it, without anything from elsewhere.

import { byId, el, wide } from "./dom.js";

/**
 * @typedef {object} Schema
 * @property {string} [$ref]
 * @property {Schema[]} [anyOf]
 * @property {Schema[]} [oneOf]
 * @property {unknown[]} [enum]
 * @property {unknown} [const]
 * @property {string} [type]
 * @property {Schema} [items]
 * @property {string} [description]
 * @property {string[]} [required]
 * @property {Record<string, Schema>} [properties]
 */
/** @typedef {{ name: string, schema: Schema, required?: boolean, description?: string }} Field */
/** @typedef {{ content?: Record<string, { schema?: Schema }>, description?: string }} Content */
/**
 * @typedef {object} Operation
 * @property {string} operationId
 * @property {string} [summary]
 * @property {string} [description]
 * @property {Field[]} [parameters]
 * @property {Content} [requestBody]
 * @property {Record<string, Content>} [responses]
 */
/** @typedef {{ paths: Record<string, Record<string, Operation>>, components?: { schemas?: Record<string, Schema> } }} Api */

/** @type {Api} */
const api = await (await fetch("openapi.json")).json();
const schemas = api.components?.schemas ?? {};
const nameOf = (/** @type {Schema} */ schema) => schema.$ref?.split("/").at(-1) ?? "";

/** @returns {string} */
function typeOf(/** @type {Schema | undefined} */ schema) {
  if (!schema) return "";
  if (schema.$ref) return nameOf(schema);
  const kinds = schema.anyOf ?? schema.oneOf;
  if (kinds) return kinds.map(typeOf).join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  return schema.type === "array" ? `${typeOf(schema.items)}[]` : (schema.type ?? "any");
}

function fields(/** @type {string} */ caption, /** @type {Field[]} */ found) {
  if (!found.length) return null;
  const lines = found.map(({ name, schema, required, description }) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, el("code", {}, name)),
      el("td", {}, el("code", {}, typeOf(schema)), required && ", required"),
      el("td", {}, description ?? ""),
    ),
  );
  return wide(caption, el("table", {}, el("caption", {}, caption), el("tbody", {}, lines)));
}

/** @returns {Field[]} */
function propertiesOf(/** @type {Schema} */ schema) {
  const found = schema.$ref ? schemas[nameOf(schema)] : schema;
  return Object.entries(found?.properties ?? {}).map(([name, inner]) => {
    return { name, schema: inner, required: found.required?.includes(name), description: inner.description };
  });
}

function answerItem(/** @type {string} */ status, /** @type {Content} */ answer) {
  const content = Object.entries(answer.content ?? {}).map(([type, { schema }]) => `${type} ${typeOf(schema)}`.trim());
  const kinds = content.length ? `: ${content.join(", ")}` : "";
  return el("li", {}, el("code", {}, status), ` ${answer.description}${kinds}`);
}

function operation(/** @type {string} */ path, /** @type {string} */ method, /** @type {Operation} */ described) {
  const body = described.requestBody?.content?.["application/json"]?.schema;
  const parameters = (described.parameters ?? []).map((each) => {
    return { ...each, description: each.description ?? each.schema.description };
  });
  const answers = Object.entries(described.responses ?? {}).map(([status, answer]) => answerItem(status, answer));
  return el(
    "section",
    { class: "turn", id: described.operationId },
    el("h2", {}, el("code", {}, `${method.toUpperCase()} ${path}`)),
    el("p", {}, described.description ?? described.summary ?? ""),
    fields("Parameters", parameters),
    body ? fields(["Body", nameOf(body)].filter(Boolean).join(": "), propertiesOf(body)) : null,
    el("ul", {}, answers),
  );
}

const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, described]) => operation(path, method, described)),
);
const names = Object.keys(schemas).sort();
const forms = names.map((name) =>
  el("section", { id: `schema-${name}` }, el("h3", {}, name), fields(name, propertiesOf(schemas[name]))),
);
byId("api").replaceChildren(...operations, el("h2", {}, "Schemas"), ...forms);
document.documentElement.dataset.ready = "";
