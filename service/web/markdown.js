// A model's Markdown as elements. Parsed by markdown-it, built here from its tokens: no HTML is ever made of text.

import { el, link, safeUrl, visible, wide } from "./dom.js";
import MarkdownIt from "./vendor/markdown-it.mjs";

/** @import { Token } from "markdown-it" */
/** @typedef {(label: string) => HTMLElement} Cite makes a label's element */
/** @typedef {{ cite: Cite, isLabel: (text: string) => boolean }} Citing isLabel: tells which labels there are */
/** @typedef {{ token: Token | null, children: (Node | string)[] }} Open a container whose end has not come yet */

const LABEL = /\[((?:[a-z]\d){2,8})\]/;
export const LABELS = new RegExp(LABEL, "g"); // of a text, for replace and split
/** @type {Record<string, keyof HTMLElementTagNameMap>} */
const ELEMENTS = {
  paragraph: "p",
  bullet_list: "ul",
  ordered_list: "ol",
  list_item: "li",
  blockquote: "blockquote",
  em: "em",
  strong: "strong",
  s: "s",
  table: "table",
  thead: "thead",
  tbody: "tbody",
  tr: "tr",
  th: "th",
  td: "td",
};

// Reference links are off: `[k7f2]: http://…` in a text could make a link of a citation, and what is shown could change
// when a definition comes later.
const parser = new MarkdownIt({ html: false, linkify: false, typographer: false, maxNesting: 20 });
parser.disable("reference");
parser.inline.ruler.before("link", "citation", (state, silent) => {
  const { isLabel } = /** @type {Pick<Citing, "isLabel">} */ (state.env);
  const match = state.src[state.pos] === "[" && LABEL.exec(state.src.slice(state.pos, state.pos + 20));
  if (!match || match.index !== 0 || !isLabel(match[1])) return false;
  if (!silent) state.push("citation", "", 0).content = match[1];
  state.pos += match[0].length;
  return true;
});

/** A text that grows while it is shown: blocks that are complete stay, only the last one is built again. */
export class LiveMarkdown {
  #settled = 0;
  /** @type {(Element | Text)[]} */
  #live = [];
  #box;
  #citing;

  /**
   * @param {HTMLElement} box
   * @param {Citing} citing
   */
  constructor(box, citing) {
    this.#box = box;
    this.#citing = citing;
  }

  update(/** @type {string} */ text) {
    const { cite, isLabel } = this.#citing;
    const tail = text.slice(this.#settled);
    const tokens = parser.parse(tail, { isLabel });
    const starts = tokens.flatMap((token, at) => (token.level === 0 && token.nesting >= 0 ? [at] : []));
    const last = starts.at(-1) ?? 0;
    for (const node of this.#live) node.remove();
    this.#box.append(...build(tokens.slice(0, last), cite));
    this.#live = build(tokens.slice(last), cite);
    this.#box.append(...this.#live);
    if (starts.length > 1) this.#settled += lineStart(tail, tokens[last].map?.[0] ?? 0);
  }
}

/**
 * Text as it stands, with its labels as citations: quotes are no Markdown.
 * @param {string} text
 * @param {Citing} citing
 */
export function plainText(text, { cite, isLabel }) {
  return text.split(LABELS).flatMap((part, at) => {
    if (at % 2 === 0) return visible(part);
    return isLabel(part) ? [cite(part)] : visible(`[${part}]`);
  });
}

function lineStart(/** @type {string} */ text, /** @type {number} */ line) {
  let at = 0;
  for (let n = 0; n < line; n++) at = text.indexOf("\n", at) + 1;
  return at;
}

/**
 * @param {Token[]} tokens
 * @param {Cite} cite
 */
function build(tokens, cite) {
  /** @type {Open[]} */
  const open = [{ token: null, children: [] }];
  const put = (/** @type {(Node | string)[]} */ ...nodes) => open.at(-1)?.children.push(...nodes);
  for (const token of tokens) {
    if (token.nesting === 1) open.push({ token, children: [] });
    else if (token.nesting === -1) put(...closed(open.pop()));
    else if (token.type === "inline") put(...build(token.children ?? [], cite));
    else put(...leaf(token, cite));
  }
  return open[0].children.map((child) =>
    typeof child === "string" ? document.createTextNode(child) : /** @type {Element} */ (child),
  );
}

/** @returns {(Node | string)[]} */
function closed(/** @type {Open | undefined} */ opened) {
  if (!opened?.token) return [];
  const { token, children } = opened;
  const kind = token.type.replace(/_open$/, "");
  if (kind === "link") return leadsTo(String(token.attrGet("href")), children);
  if (kind === "paragraph" && token.hidden) return children;
  if (kind === "heading") {
    const level = Math.min(6, Number(token.tag[1]) + 2);
    return [el(/** @type {"h3"} */ (`h${level}`), {}, children)];
  }
  const made = el(ELEMENTS[kind] ?? "span", { start: token.attrGet("start") }, children);
  return kind === "table" ? [wide(null, made)] : [made];
}

/**
 * @param {Token} token
 * @param {Cite} cite
 * @returns {(Node | string)[]}
 */
function leaf(token, cite) {
  switch (token.type) {
    case "citation":
      return [cite(token.content)];
    case "softbreak":
    case "hardbreak":
      return [el("br")];
    case "hr":
      return [el("hr")];
    case "code_inline":
      return [el("code", {}, visible(token.content))];
    case "code_block":
    case "fence":
      return [el("pre", { tabindex: 0 }, el("code", {}, visible(token.content)))];
    case "image":
      return leadsTo(String(token.attrGet("src")), ["🖼 ", ...visible(token.content || "")]); // never loaded
    default:
      return visible(token.content);
  }
}

/** @returns {(Node | string)[]} */
function leadsTo(/** @type {string} */ address, /** @type {(Node | string)[]} */ children) {
  const url = safeUrl(address);
  return url ? link(url, children) : [el("span", { class: "dead-link" }, children)];
}
