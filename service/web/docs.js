// The REST API as its OpenAPI description tells it, without anything from elsewhere.

import { el } from "./dom.js";

const api = await (await fetch("openapi.json")).json();
const schemas = api.components?.schemas ?? {};
const nameOf = (schema) => schema?.$ref?.split("/").at(-1);

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return nameOf(schema);
  const kinds = schema.anyOf ?? schema.oneOf;
  if (kinds) return kinds.map(typeOf).join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  return schema.type === "array" ? `${typeOf(schema.items)}[]` : (schema.type ?? "any");
}

/** Rows of fields: name, type, what it is. */
function fields(caption, rows) {
  if (!rows.length) return null;
  return el(
    "div", { class: "wide", tabindex: 0, role: "group", "aria-label": caption },
    el("table", {}, el("caption", {}, caption), el("tbody", {}, rows.map(([name, schema, required, description]) => el(
      "tr", {}, el("th", { scope: "row" }, el("code", {}, name)), el("td", {}, el("code", {}, typeOf(schema)), required ? ", required" : ""), el("td", {}, description ?? ""),
    )))),
  );
}

function propertiesOf(schema) {
  const found = schema.$ref ? schemas[nameOf(schema)] : schema;
  return Object.entries(found?.properties ?? {}).map(([name, inner]) => [name, inner, found.required?.includes(name), inner.description]);
}

function operation(path, method, told) {
  const body = told.requestBody?.content?.["application/json"]?.schema;
  const parameters = (told.parameters ?? []).map((each) => [each.name, each.schema, each.required, each.description ?? each.schema?.description]);
  const answers = Object.entries(told.responses ?? {}).map(([status, answer]) => {
    const content = Object.entries(answer.content ?? {}).map(([type, inner]) => `${type} ${typeOf(inner.schema)}`.trim());
    return el("li", {}, el("code", {}, status), ` ${answer.description}${content.length ? `: ${content.join(", ")}` : ""}`);
  });
  return el(
    "section", { class: "turn", id: told.operationId },
    el("h2", {}, el("code", {}, `${method.toUpperCase()} ${path}`)),
    el("p", {}, told.description ?? told.summary ?? ""),
    fields("Parameters", parameters),
    body ? fields(`Body${nameOf(body) ? `: ${nameOf(body)}` : ""}`, propertiesOf(body)) : null,
    el("ul", {}, answers),
  );
}

const operations = Object.entries(api.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, told]) => operation(path, method, told)));
const forms = Object.keys(schemas).sort().map((name) => el("section", { id: `schema-${name}` }, el("h3", {}, name), fields(name, propertiesOf(schemas[name]))));
document.getElementById("api").replaceChildren(...operations, el("h2", {}, "Forms"), ...forms);
document.documentElement.dataset.ready = "";
