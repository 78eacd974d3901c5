"use strict";
// Asks, streams the answer, and shows each cited passage with the quote marked. All text is set as text, never as HTML.

const byId = (id) => document.getElementById(id);
const LABEL = /\[((?:[a-z]\d){2,8})\]/g;
let passages = new Map();
let answerText = "";
let abort = null;

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(byId("question").value.trim());
});
byId("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    byId("ask").requestSubmit();
  }
});
byId("stop").addEventListener("click", () => abort && abort.abort());

async function ask(question) {
  if (!question) return;
  if (abort) abort.abort();
  const mine = (abort = new AbortController());
  passages = new Map();
  answerText = "";
  byId("result").hidden = false;
  byId("sources").replaceChildren();
  byId("usage").textContent = "";
  setState("searching…", true);
  render();
  try {
    const response = await fetch("/v1/ask", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ question, stream: true }),
      signal: mine.signal,
    });
    if (!response.ok) {
      const problem = await response.json();
      throw new Error(problem.detail || response.statusText);
    }
    let ended = false;
    for await (const [name, data] of events(response.body)) {
      if (name === "passages") for (const passage of data.passages) passages.set(passage.label, passage);
      if (name === "delta") { answerText += data.text; setState("answering…", true); render(); }
      if (name === "error") throw new Error(data.detail);
      if (name === "done") { ended = true; finish(data); }
    }
    if (!ended) throw new Error("The connection was cut before the answer ended.");
  } catch (error) {
    if (abort !== mine) return; // a newer question has taken over
    setState(error.name === "AbortError" ? "stopped" : "error", false);
    if (error.name !== "AbortError") byId("usage").textContent = error.message;
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value;
    let end;
    while ((end = buffer.indexOf("\n\n")) >= 0) {
      const block = buffer.slice(0, end);
      buffer = buffer.slice(end + 2);
      const name = /^event: (.*)$/m.exec(block);
      const data = [...block.matchAll(/^data: (.*)$/gm)].map((match) => match[1]).join("\n");
      if (name && data) yield [name[1], JSON.parse(data)];
    }
  }
}

function finish(answer) {
  answerText = answer.text;
  render();
  setState(answer.refused ? "no evidence found" : answer.degraded ? "quoted: the language model is away" : "done", false);
  const seconds = answer.timings_s.total.toFixed(2);
  const tokens = answer.usage.prompt_tokens
    ? `, ${answer.usage.prompt_tokens} prompt tokens (${answer.usage.cached_tokens} cached), ${answer.usage.completion_tokens} answered`
    : "";
  byId("usage").textContent = `${seconds} s${tokens}`;
  const cited = new Set();
  for (const citation of answer.citations) {
    cited.add(citation.label);
    byId("sources").append(sourceItem(citation, passages.get(citation.label)));
  }
}

function setState(text, running) {
  byId("state").textContent = text;
  byId("stop").hidden = !running;
}

function render() {
  const parts = [];
  let last = 0;
  for (const match of answerText.matchAll(LABEL)) {
    parts.push(document.createTextNode(answerText.slice(last, match.index)));
    const button = document.createElement("button");
    button.type = "button";
    button.className = "cite";
    button.textContent = match[1];
    button.setAttribute("aria-label", `Show source ${match[1]}`);
    button.addEventListener("click", () => show(match[1]));
    parts.push(button);
    last = match.index + match[0].length;
  }
  parts.push(document.createTextNode(answerText.slice(last)));
  byId("answer").replaceChildren(...parts);
}

function show(label) {
  for (const item of byId("sources").children) item.classList.toggle("shown", item.dataset.label === label);
  const item = [...byId("sources").children].find((each) => each.dataset.label === label);
  if (item) { item.scrollIntoView({ block: "nearest" }); item.focus(); }
}

function sourceItem(citation, passage) {
  const item = document.createElement("li");
  item.dataset.label = citation.label;
  item.tabIndex = -1;
  const title = document.createElement("strong");
  title.textContent = `[${citation.label}] ${citation.title}${citation.page === null ? "" : `, page ${citation.page}`}`;
  const place = document.createElement("div");
  place.className = "quiet";
  place.textContent = `${citation.source} · ${citation.uri}`;
  const text = document.createElement("pre");
  const whole = passage ? passage.text : citation.quote;
  const from = passage ? [...whole].length && indexOfChar(whole, citation.start - passage.start) : 0;
  const to = passage ? indexOfChar(whole, citation.end - passage.start) : whole.length;
  const mark = document.createElement("mark");
  mark.textContent = whole.slice(from, to);
  text.append(whole.slice(0, from), mark, whole.slice(to));
  item.append(title, place, text);
  return item;
}

// Offsets count characters as Python does; JavaScript counts UTF-16 units.
function indexOfChar(text, count) {
  return [...text].slice(0, Math.max(count, 0)).join("").length;
}
