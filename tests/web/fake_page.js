// A document without a browser: elements with attributes, text, listeners and the selectors that the page uses.

class FakeText {
  constructor(data) {
    this.data = data;
  }

  get textContent() {
    return this.data;
  }

  remove() {
    this.parent?.take(this);
  }
}

export class FakeElement {
  parent = null;
  childNodes = [];
  attributes = new Map();
  listeners = new Map();
  open = false;

  constructor(tag) {
    this.tagName = tag;
    this.dataset = new Proxy(this, {
      get: (element, name) => element.getAttribute(dataName(name)) ?? undefined,
      set: (element, name, value) => (element.setAttribute(dataName(name), value), true),
    });
  }

  setAttribute(name, value) {
    this.attributes.set(name, String(value));
  }

  getAttribute(name) {
    return this.attributes.get(name) ?? null;
  }

  removeAttribute(name) {
    this.attributes.delete(name);
  }

  append(...nodes) {
    for (const node of nodes) {
      const child = typeof node === "string" ? new FakeText(node) : node;
      child.remove();
      child.parent = this;
      this.childNodes.push(child);
    }
  }

  take(child) {
    this.childNodes = this.childNodes.filter((each) => each !== child);
    child.parent = null;
  }

  remove() {
    this.parent?.take(this);
  }

  replaceChildren(...nodes) {
    for (const child of this.childNodes) child.parent = null;
    this.childNodes = [];
    this.append(...nodes);
  }

  replaceWith(node) {
    this.parent.childNodes[this.parent.childNodes.indexOf(this)] = node;
    node.parent = this.parent;
    this.parent = null;
  }

  get firstElementChild() {
    return this.childNodes.find((child) => child instanceof FakeElement) ?? null;
  }

  get isConnected() {
    return this === globalThis.document.documentElement || Boolean(this.parent?.isConnected);
  }

  get classList() {
    const names = () => (this.getAttribute("class") ?? "").split(" ").filter(Boolean);
    const set = (all) => this.setAttribute("class", all.join(" "));
    return {
      add: (name) => set([...names(), name]),
      remove: (name) => set(names().filter((each) => each !== name)),
    };
  }

  get textContent() {
    return this.childNodes.map((child) => child.textContent).join("");
  }

  set textContent(text) {
    this.replaceChildren(text);
  }

  get innerHTML() {
    return html(...this.childNodes);
  }

  contains(element) {
    return [...this.below()].includes(element);
  }

  get id() {
    return this.getAttribute("id");
  }

  get hidden() {
    return this.attributes.has("hidden");
  }

  set hidden(on) {
    if (on) this.setAttribute("hidden", "");
    else this.removeAttribute("hidden");
  }

  get value() {
    if (this.typed !== undefined) return this.typed;
    if (this.tagName !== "select") return this.getAttribute("value") ?? "";
    return (this.querySelectorAll("[selected]").at(-1) ?? this.querySelector("option"))?.value ?? "";
  }

  set value(text) {
    this.typed = text;
  }

  get checked() {
    return this.ticked ?? this.attributes.has("checked");
  }

  set checked(on) {
    this.ticked = on;
  }

  addEventListener(name, listener) {
    this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener]);
  }

  /** Dispatch an event; resolves when its listeners are done. */
  fire(name, more = {}) {
    const event = { target: this, preventDefault: () => {}, stopPropagation: () => {}, ...more };
    return Promise.all((this.listeners.get(name) ?? []).map((listener) => listener(event)));
  }

  click() {
    return this.fire("click");
  }

  focus() {
    globalThis.document.activeElement = this;
  }

  select() {}

  reportValidity() {}

  checkValidity() {
    return !this.invalid;
  }

  showModal() {
    this.open = true;
  }

  close() {
    this.open = false;
  }

  /** All elements below, in order. */
  *below() {
    for (const child of this.childNodes) {
      if (!(child instanceof FakeElement)) continue;
      yield child;
      yield* child.below();
    }
  }

  matches(selector) {
    if (selector.includes(", ")) return selector.split(", ").some((each) => this.matches(each));
    const [, tag, rest] = /^([a-z0-9]*)(.*)$/.exec(selector);
    const tests = [...rest.matchAll(/#([\w-]+)|\.([\w-]+)|\[([\w-]+)(?:="?([\w-]+)"?)?\]|:(checked)/g)];
    if (tests.map(([text]) => text).join("") !== rest) throw new Error(`no selector of the fake page: ${selector}`);
    return (!tag || tag === this.tagName) && tests.every((test) => this.#passes(test));
  }

  #passes([, id, name, attribute, value, checked]) {
    if (id) return this.id === id;
    if (name) return (this.getAttribute("class") ?? "").split(" ").includes(name);
    if (checked) return this.checked;
    return value === undefined ? this.attributes.has(attribute) : this.getAttribute(attribute) === value;
  }

  querySelectorAll(selector) {
    return [...this.below()].filter((element) => element.matches(selector));
  }

  querySelector(selector) {
    return this.querySelectorAll(selector)[0] ?? null;
  }

  closest(selector) {
    return this.matches(selector) ? this : (this.parent?.closest(selector) ?? null);
  }
}

class FakeStorage {
  kept = new Map();

  getItem(name) {
    return this.kept.get(name) ?? null;
  }

  setItem(name, value) {
    this.kept.set(name, String(value));
  }

  removeItem(name) {
    this.kept.delete(name);
  }
}

const dataName = (name) => `data-${String(name).replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** Elements as HTML, so that a test can say all of them in a line. */
export function html(...nodes) {
  return nodes
    .map((node) => {
      if (typeof node === "string") return node;
      if (!(node instanceof FakeElement)) return node.data;
      const attributes = [...node.attributes].map(([name, value]) => ` ${name}="${value}"`).join("");
      return `<${node.tagName}${attributes}>${html(...node.childNodes)}</${node.tagName}>`;
    })
    .join("");
}

/** Make this process's document a new one that holds elements of these ids. */
export function openPage(...ids) {
  const root = new FakeElement("html");
  globalThis.document = {
    documentElement: root,
    body: root,
    activeElement: null,
    visibilityState: "visible",
    createElement: (tag) => new FakeElement(tag),
    createTextNode: (text) => new FakeText(text),
    getElementById: (id) => root.querySelector(`#${id}`),
    querySelectorAll: (selector) => root.querySelectorAll(selector),
  };
  globalThis.HTMLElement = FakeElement;
  globalThis.window = globalThis;
  globalThis.localStorage = new FakeStorage();
  globalThis.requestAnimationFrame = (draw) => setImmediate(() => draw(performance.now()));
  Object.assign(globalThis, { innerHeight: 0, scrollY: 0, scrollTo: () => {} });
  for (const id of ids) {
    const element = new FakeElement("div");
    element.setAttribute("id", id);
    root.append(element);
  }
  return root;
}
