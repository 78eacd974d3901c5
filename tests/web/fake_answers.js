// What the service answers, as the page gets it.

export const passage = (label, more = {}) => ({
  label,
  source: "docs",
  document_id: "stores.md",
  title: "Stores",
  primary_key: null,
  page: null,
  start: 0,
  end: 20,
  text: "The store opens at 11.",
  context: "Stores > Edmonton",
  uri: "file:///docs/stores.md",
  version: "v1",
  kind: "file",
  score: 0.5,
  scores: { dense: 0.4 },
  cut: false,
  ...more,
});

export const row = (label, more = {}) =>
  passage(label, {
    source: "shop",
    title: "Album 4",
    primary_key: { AlbumId: 4 },
    text: "Album\nAlbum id: 4\nTitle: Let There Be Rock\nNotes: one\ntwo",
    context: "",
    uri: "https://shop.example/4",
    kind: "row",
    ...more,
  });

export const citation = (label, more = {}) => ({
  label,
  start: 0,
  end: 9,
  quote: "The store",
  pointer: "",
  ...more,
});

export const answer = (more = {}) => ({
  text: "It opens at 11 [k7f2].",
  language: "en",
  refused: false,
  degraded: false,
  degraded_reason: "",
  uncited: 0,
  cut: false,
  value: null,
  standalone: "",
  citations: [citation("k7f2")],
  marks: [0],
  passages: [passage("k7f2"), row("a1b2")],
  usage: { prompt_tokens: 100, cached_tokens: 64, completion_tokens: 9 },
  ...more,
});

export const turn = (more = {}) => ({
  question: "When?",
  options: {},
  at: 1_700_000_000,
  state: "done",
  text: "",
  passages: [],
  numbers: {},
  answer: answer(),
  problem: null,
  firstToken_s: 0.25,
  total_s: 1.5,
  ...more,
});

export const event = (name, data) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
