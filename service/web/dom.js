// Elements from data. What comes from documents and models is only ever set as text.

/** @import { PageElements } from "./types.js" */
/** @typedef {Node | string | null | undefined | false} Child */
/** @typedef {string | number | boolean | null | undefined | ((event: any) => unknown)} Attribute */

// Characters that reorder or hide text: controls, bidirectional embeddings, overrides and isolates, zero-width, tags.
const HIDDEN =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u180e\u200b\u202a-\u202e\u2060-\u206f\ufeff]|[\u{e0000}-\u{e007f}]+/gu;

/**
 * An element of the page's own document, by its id.
 * @template {string} Id
 * @param {Id} id
 * @returns {Id extends keyof PageElements ? PageElements[Id] : HTMLElement}
 */
export function byId(id) {
  return /** @type {any} */ (document.getElementById(id));
}

/**
 * An element: attributes by name, listeners as functions under on…, children as nodes or text.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, Attribute>} attributes
 * @param {(Child | Child[])[]} children
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  const shown = children.flat().filter((child) => child !== null && child !== undefined && child !== false);
  element.append(...shown);
  return element;
}

/**
 * A button. look: its classes.
 * @param {string} look
 * @param {(event: MouseEvent) => unknown} press
 * @param {Child | Child[]} content
 * @param {Record<string, Attribute>} more
 */
export function button(look, press, content, more = {}) {
  return el("button", { type: "button", class: look || null, ...more, onclick: press }, content);
}

/**
 * What may be wider than the page, and then scrolls by itself.
 * @param {string | null} label
 * @param {Child} content
 */
export function wide(label, content) {
  return el("div", { class: "wide", tabindex: 0, role: "group", "aria-label": label }, content);
}

/**
 * Text as nodes, in which each character that hides or reorders text is shown by its code.
 * @param {string} text
 */
export function visible(text) {
  /** @type {(Node | string)[]} */
  const nodes = [];
  let last = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match.index > last) nodes.push(text.slice(last, match.index));
    const code = `U+${Number(match[0].codePointAt(0)).toString(16).toUpperCase().padStart(4, "0")}`;
    nodes.push(el("span", { class: "code-point", "data-code": code, title: code }));
    last = match.index + match[0].length;
  }
  if (last < text.length) nodes.push(text.slice(last));
  return nodes;
}

/**
 * Where a link may lead: the web and mail. Null for every other scheme, and for an incomplete address.
 * @param {string} address
 */
export function safeUrl(address) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  return ["http:", "https:", "mailto:"].includes(url.protocol) ? url : null;
}

/**
 * A link that tells where it leads, unless its text does.
 * @param {URL} url
 * @param {(Child | Child[])[]} children
 */
export function link(url, ...children) {
  const host = url.protocol === "mailto:" ? url.pathname : url.host;
  const anchor = el("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
  return anchor.textContent.includes(host) ? [anchor] : [anchor, el("span", { class: "quiet" }, ` (${host})`)];
}

/**
 * The offset in a JavaScript string, which counts UTF-16 units, of one that counts characters, as Python does.
 * @param {string} text
 * @param {number} characters
 */
export function utf16(text, characters) {
  let at = 0;
  for (let n = 0; n < characters && at < text.length; n++) at += Number(text.codePointAt(at)) > 0xffff ? 2 : 1;
  return at;
}

/**
 * Save a text as a file of the reader's.
 * @param {string} name
 * @param {string} type
 * @param {string} content
 */
export function download(name, type, content) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/**
 * Copy text, also where the page has no secure context (http:// on an intranet).
 * @param {string} text
 */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = el("textarea", { class: "off-screen", readonly: true });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("copy");
}
