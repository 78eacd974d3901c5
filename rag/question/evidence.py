"""Whether passages hold the evidence for an answer, decided in code and not by the model.

A passage's evidence joins the share of the question's content words that it holds with the cosine of the dense
retriever; the threshold was set with benchmarks/refusal.py (docs/benchmarks.md has its figures).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from rag.documents import Passage
from rag.language.terms import content_weights, coverage, term_set, terms
from rag.language.text import fold, has_han, humanize, language_of
from rag.retrieval.likeness import Scale

THRESHOLD = 0.45
_NO_SYNONYMS: Mapping[str, Sequence[str]] = MappingProxyType({})

_HOW_MANY = re.compile(
    r"\b(?:how many|how much|(?:the|total|what) number of|count of|amount of)\s+(?:of\s+)?(?:the\s+)?([\w-]+)", re.I
)
_SUPERLATIVE = re.compile(
    r"\b(most|least|fewest|highest|lowest|largest|smallest|biggest|longest|shortest|oldest|newest|youngest|earliest|"
    r"latest|cheapest|best|worst|top|average|mean|median|total|sum|overall|maximum|minimum|count)\b",
    re.I,
)
_AGGREGATE_ZH = re.compile(
    r"(最多|最少|最大|最小|最高|最低|最长|最短|最早|最晚|最新|最贵|最便宜|平均|总共|一共|总数|总额|合计|总和)"
)
_OVER_ALL = re.compile(r"\b(all|every|each|overall|across|altogether|combined)\b|所有|全部|总共|一共|合计", re.I)
_FIGURE = re.compile(r"\A([^:]+): [-+]?[\d.,]++%?$")
_NAMED_COVERAGE = 0.75
_COUNT_ZH = re.compile(r"(?<!是)多少(?!钱)(?=[\u4e00-\u9fff])|几(?=[个张首种条人名位家笔次部件份])")

REFUSALS = {
    "en": "I found nothing in the connected sources that answers this.",
    "zh": "在已连接的数据源中没有找到能回答这个问题的内容。",
    "ja": "接続されたデータソースには、この質問に答える内容が見つかりませんでした。",
    "ko": "연결된 데이터 소스에서 이 질문에 답하는 내용을 찾지 못했습니다.",
    "de": "In den angebundenen Quellen habe ich nichts gefunden, das diese Frage beantwortet.",
    "fr": "Je n'ai rien trouvé dans les sources connectées qui réponde à cette question.",
    "es": "No encontré nada en las fuentes conectadas que responda a esta pregunta.",
    "pt": "Não encontrei nada nas fontes conectadas que responda a esta pergunta.",
    "it": "Nelle fonti collegate non ho trovato nulla che risponda a questa domanda.",
    "nl": "Ik heb in de gekoppelde bronnen niets gevonden dat deze vraag beantwoordt.",
    "ru": "В подключённых источниках не нашлось ничего, что отвечало бы на этот вопрос.",
    "ar": "لم أجد في المصادر المتصلة ما يجيب عن هذا السؤال.",
}
AGGREGATE_REFUSALS = {
    "en": "This asks for a figure over many rows (a count, total or ranking). Citewell quotes rows and pages, and no "
    "single one states it, so it does not guess.",
    "zh": "这个问题需要对许多行做统计（计数、合计或排名）。Citewell 只引用具体的行和页，"
    "而没有任何一处直接给出结果，因此不作猜测。",
}


MORE_ROWS = {"en": "More rows match; these are the first {shown}.", "zh": "还有更多匹配的行，以上是前 {shown} 行。"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question with what was read from its words."""

    text: str
    language: str
    weights: dict[str, float]
    also: Mapping[str, frozenset[str]] = field(default_factory=dict)  # terms that the synonyms put in place of one
    expansion: str = ""  # the synonyms themselves, for the retrievers
    aggregate: str = ""  # the word that asks for a figure over many rows
    counted: str = ""  # the thing that is counted, where the question says it


def understand(text: str, synonyms: Mapping[str, Sequence[str]] = _NO_SYNONYMS) -> Question:
    """Read a question. synonyms: words of questions with the words that the sources use for them."""
    match = _HOW_MANY.search(text)
    superlative = _SUPERLATIVE.search(text) or _AGGREGATE_ZH.search(text)
    count_zh = _COUNT_ZH.search(text)
    aggregate = next((m.group(0) for m in (match, superlative, count_zh) if m), "")
    if superlative:
        aggregate = superlative.group(1)
    weights = content_weights(text)
    used = {word: others for word, others in synonyms.items() if fold(word) in fold(text)}
    also = {
        term: frozenset(t for o in others for t in terms(o)) for word, others in used.items() for term in terms(word)
    }
    return Question(
        text=text,
        language=language_of(text),
        weights=weights,
        also={term: others for term, others in also.items() if term in weights},
        expansion=" ".join(other for others in used.values() for other in others),
        aggregate=aggregate,
        counted=match.group(1) if match else "",
    )


def held_by(question: Question, text: str) -> float:
    """Share of the question's content words that a text holds, 0 to 1."""
    return coverage(question.weights, term_set(text), question.also)


def words_held(question: Question, passage: Passage) -> float:
    """Share of the question's content words that a passage holds with its context and title."""
    return held_by(question, f"{passage.context}\n{passage.document.title}\n{passage.text}")


def evidence(question: Question, passage: Passage, *, scale: Scale) -> float:
    """How well a passage supports an answer, 0 to about 1.

    scale: what a cosine means in the question's language; where it means nothing, only words count.
    """
    held = words_held(question, passage)
    if has_han(question.text) != has_han(passage.text):
        return held  # across scripts the cosines of what belongs together and what does not lie too near each other
    return 0.5 * held + 0.5 * scale.likeness(passage.scores.get("dense", 0.0)) if scale.counts else held


def admissible(question: Question, passages: Iterable[Passage]) -> list[Passage]:
    """Passages that may answer: for a figure over many rows, only those that state the figure themselves.

    A row states it when one of its fields is what is asked for ('total', 'how many milliseconds'); a document when
    it holds the asking word ('the longest'), or a number for a count.
    """
    if not question.aggregate:
        return list(passages)
    return [passage for passage in passages if _states_figure(question, passage)]


def _states_figure(question: Question, passage: Passage) -> bool:
    asked = term_set(question.counted or question.aggregate)
    if passage.document.kind == "row":
        return _is_name(question, asked, passage) or (
            not _OVER_ALL.search(question.text) and bool(asked & _numeric_fields(passage))
        )
    if question.aggregate in ("多少", "几") or question.counted:
        return (
            re.search(
                r"\d|[一二三四五六七八九十百千两]|\b(one|two|three|four|five|six|seven|eight|nine|ten)\b", passage.text
            )
            is not None
        )
    return bool(asked & term_set(passage.text)) or fold(question.aggregate) in fold(passage.text)


def _is_name(question: Question, asked: frozenset[str], passage: Passage) -> bool:
    """Whether the asking word is part of a name that the row holds: 'Who recorded The Best Of Buddy Guy?'

    The row must then hold other words of the question in its values too, and most of the question in all.
    """
    values = term_set("\n".join(line.partition(":")[2] for line in passage.text.splitlines()))
    names = term_set("\n".join(line.partition(":")[0] for line in passage.text.splitlines()))
    others = (values & set(question.weights)) - asked - names
    return (
        not question.counted
        and asked <= values
        and bool(others)
        and coverage(question.weights, values | names) >= _NAMED_COVERAGE
    )


def _numeric_fields(passage: Passage) -> set[str]:
    """Terms of the names of a row's figures; keys and references are no figures."""
    found = (_FIGURE.match(line) for line in passage.text.splitlines())
    names = [match.group(1) for match in found if match]
    keys = {humanize(column) for column in passage.document.primary_key or ()}
    return {term for name in names if name not in keys and not name.lower().endswith(" id") for term in terms(name)}


def refusal(question: Question, *, aggregate: bool) -> str:
    """The refusal in the question's language, English where there is none."""
    table = AGGREGATE_REFUSALS if aggregate else REFUSALS
    return table.get(question.language) or REFUSALS.get(question.language) or table["en"]


def supported(
    question: Question, passages: Sequence[Passage], *, scale: Scale, threshold: float = THRESHOLD
) -> list[tuple[float, Passage]]:
    """Passages above the evidence threshold with their evidence, in the order given."""
    scored = [(evidence(question, passage, scale=scale), passage) for passage in passages]
    return [(value, passage) for value, passage in scored if value >= threshold]
