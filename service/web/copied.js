// An answer as text to copy.

import { LABELS } from "./markdown.js";
import { passagesOf, placeOf } from "./panel.js";

/** @import { Turn } from "./types.js" */

/** An answer with its citations by number and, below, where each stands and what it says there. */
export function withSources(/** @type {Turn} */ turn) {
  const { numbers } = turn;
  const text = (turn.answer?.text ?? turn.text).replace(LABELS, (given, label) =>
    label in numbers ? `[${numbers[label]}]` : given,
  );
  const citations = turn.answer?.citations ?? [];
  const cited = Object.entries(numbers).map(([label, own]) => {
    const passage = passagesOf(turn).find((each) => each.label === label);
    const quotes = citations.filter((each) => each.label === label).map((each) => quoted(each.quote));
    const place = passage ? `${passage.title} (${placeOf(passage)}) ${passage.uri}` : label;
    return [`[${own}] ${place}`, ...new Set(quotes)].join("\n");
  });
  return [text, ...cited].join("\n\n");
}

const quoted = (/** @type {string} */ quote) => `    “${quote.trim().replace(/\s*\n\s*/g, "; ")}”`;
