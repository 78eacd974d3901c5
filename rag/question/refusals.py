"""What is said where not all is answered, in the question's language; in English where it has no text for it."""

from rag.language.languages import Language, languages
from rag.question.question import Question

_DEFAULT = "en"


def refusal(question: Question) -> str:
    """Why there is no answer: nothing holds one, or it would be a figure over many rows."""
    texts = (text for language in _languages(question) for text in _refusals(language, question))
    return next(text for text in texts if text)


def more_rows(question: Question, *, shown: int) -> str:
    """That more rows match than those shown, which are the first."""
    text = next(language.more_rows for language in _languages(question) if language.more_rows)
    return text.format(shown=shown)


def _refusals(language: Language, question: Question) -> tuple[str, ...]:
    return (language.no_figure, language.nothing_found) if question.aggregate else (language.nothing_found,)


def _languages(question: Question) -> list[Language]:
    return [languages()[code] for code in (question.language, _DEFAULT) if code in languages()]
