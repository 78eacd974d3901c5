/** What the REST API answers, as far as the page reads it (service/schemas.py), and what the page itself keeps. */

export interface Hit {
  source: string;
  document_id: string;
  title: string;
  primary_key: Record<string, unknown> | null;
  page: number | null;
  start: number;
  end: number;
  text: string;
  context: string;
  uri: string;
  version: string;
  kind: "row" | "file";
  score: number;
  scores: Record<string, number>;
}

/** A hit is a passage without a label: it was not put into a prompt. */
export interface Passage extends Hit {
  label?: string;
  cut?: boolean;
}

export interface Citation {
  label: string;
  start: number;
  end: number;
  quote: string;
  pointer: string;
}

export interface Answer {
  text: string;
  language: string;
  refused: boolean;
  degraded: boolean;
  degraded_reason: string;
  uncited: number;
  cut: boolean;
  value: unknown;
  standalone: string;
  citations: Citation[];
  marks?: number[];
  passages: Passage[];
  usage: { prompt_tokens: number; cached_tokens: number; completion_tokens: number };
}

export interface Caller {
  name: string;
  scopes: string[];
  sources: string[];
  authenticated: boolean;
  asking: {
    profiles: Record<string, number>;
    profile: string;
    max_tokens: number;
    temperature: number;
    top_p: number;
    writes: boolean;
    max_question_chars: number;
    keep_conversations_s: number;
  };
}

export interface Check {
  name: string;
  kind: string;
  ok: boolean;
  detail: string;
  seconds: number;
}

/** The numbers of a run; of one under way, those known so far. */
export interface Counts {
  read?: number;
  fetched?: number;
  added?: number;
  updated?: number;
  unchanged?: number;
  deleted?: number;
}

export interface Report extends Counts {
  source: string;
  seconds?: number;
  quarantined?: number;
  mass_delete_refused?: boolean;
  error?: string;
}

export interface Run {
  status: string;
  started_at: number;
  ended_at: number | null;
  report: Report | null;
}

export interface Source {
  name: string;
  kind: string;
  documents: number;
  chunks: number;
  quarantined: number;
  last_run: Run | null;
  lag_s: number | null;
  next_run_at: number | null;
}

export interface Progress {
  read?: number;
  expected?: number;
  documents_per_s?: number;
  eta_s?: number;
}

export interface Job {
  id: number;
  status: string;
  sources: string[];
  progress: Record<string, Progress>;
  reports: Report[];
  error: string | null;
  cancelled: boolean;
  created_at: number;
}

export interface Quarantined {
  source: string;
  document_id: string;
  reason: string;
  since: number;
}

/** The fields of a request's body that the options decide. */
export interface AskOptions {
  profile?: string;
  max_tokens?: number;
  temperature?: number;
  top_p?: number;
  max_passages?: number;
  sources?: string[];
  filter?: object;
  response_format?: object;
}

/** The options as they stand in their fields. */
export interface Chosen {
  profile: string;
  max_tokens: string;
  temperature: string;
  top_p: string;
  max_passages: string;
  sources: string[];
  filter: string;
  json: boolean;
  schema: string;
}

export type TurnState = "searching" | "answering" | "done" | "unfounded" | "refused" | "degraded" | "stopped" | "error";

export interface Trouble {
  status: number;
  detail: string;
  retryAfter: number;
  requestId: string;
}

/** A question with its answer. All of it is plain data, so that the history can keep it. */
export interface Turn {
  question: string;
  options: AskOptions;
  at: number;
  state: TurnState;
  text: string;
  passages: Passage[];
  nearest?: Passage[] | null;
  numbers: Record<string, number>;
  answer: Answer | null;
  problem: Trouble | null;
  firstToken_s: number | null;
  total_s: number | null;
}

export interface Conversation {
  id: string;
  title: string;
  at: number;
  turns: Turn[];
  forgotten: boolean;
}

/** The elements of index.html that are more than an HTMLElement, by id. */
export interface PageElements {
  composer: HTMLFormElement;
  dialog: HTMLDialogElement;
  language: HTMLSelectElement;
  options: HTMLDetailsElement;
  question: HTMLTextAreaElement;
  theme: HTMLSelectElement;
}
