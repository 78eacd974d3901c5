"""Every error that Citewell raises on purpose.

    CitewellError
    ├── ConfigError            a setting is wrong: file, line and key are in the message
    ├── QuestionError          a question or a request that cannot be answered as it is
    │   ├── FilterError        a filter that cannot be read
    │   └── AnswerCut          an answer in JSON that did not end within max_tokens
    ├── SourceError            a database or folder cannot be reached or read
    │   └── MassDeleteRefused  a run would remove more of a source than is safe
    ├── SourceBusy             another run holds the source
    │   └── LeaseLost          another run took the source over
    ├── RunStopped             a run ended because it was asked to
    ├── StateUnavailable       the state store cannot be read or written
    ├── IndexUnavailable       Qdrant or the embedded engine does not answer
    │   └── IndexMoved         a re-index replaced the collection that was in use
    ├── IndexMismatch          the collection was built by another embedder or encoder
    ├── ReindexRefused         the new version of an index finds less than the old one
    ├── EmbedderUnavailable    the embedding model cannot be loaded or reached
    ├── RerankerUnavailable    the reranking model cannot be loaded
    ├── GeneratorUnavailable   the language model does not answer
    │   ├── EngineBusy         the language model's queue is full
    │   ├── RequestRefused     the language model refuses this request, as it would from anybody
    │   └── AnswerFiltered     a content filter stopped the answer
    ├── DeadlineExceeded       the request's time ran out before there was anything to say
    └── ShuttingDown           the service ended before the answer did

A message says what happened, the value that was seen, and how to mend it. It is for those who run Citewell: it may
name hosts and paths, and never a secret. Callers of the service get `for_callers`.
"""

from rag.boundary.secrets import masked


class CitewellError(Exception):
    """Base of the tree. public: what callers are told in its place; empty where the message is about their request."""

    public: str = "The request failed; the service's log has the reason."

    def __init__(self, message: str = "") -> None:
        super().__init__(masked(message))


def for_callers(err: CitewellError) -> str:
    """What callers without rights of an operator are told: nothing of hosts, paths or another program's words."""
    return err.public or str(err)


class ConfigError(CitewellError):
    pass


class QuestionError(CitewellError):
    public = ""


class FilterError(QuestionError):
    pass


class AnswerCut(QuestionError):
    pass


class SourceError(CitewellError):
    pass


class MassDeleteRefused(SourceError):
    pass


class SourceBusy(CitewellError):
    public = ""


class LeaseLost(SourceBusy):
    pass


class RunStopped(CitewellError):
    pass


class StateUnavailable(CitewellError):
    public = "The service's state store cannot be reached. Try again shortly."


class IndexUnavailable(CitewellError):
    public = "The index does not respond. Try again shortly."


class IndexMoved(IndexUnavailable):
    pass


class IndexMismatch(CitewellError):
    public = "The index cannot be searched at the moment. Tell the operators of the service."


class ReindexRefused(CitewellError):
    pass


class EmbedderUnavailable(CitewellError):
    public = "The embedding model does not respond. Try again shortly."


class RerankerUnavailable(CitewellError):
    public = "The reranking model does not respond. Try again shortly."


class GeneratorUnavailable(CitewellError):
    """public: what callers are told of this one."""

    public = "The language model is unavailable at the moment. Ask again shortly."

    def __init__(self, message: str = "", *, public: str = "") -> None:
        super().__init__(message)
        self.public = public or type(self).public


class EngineBusy(GeneratorUnavailable):
    public = "The language model is at capacity. Ask again shortly."

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RequestRefused(GeneratorUnavailable):
    public = (
        "The language model refused this request. Ask without a JSON Schema or options that its server may not support."
    )


class AnswerFiltered(GeneratorUnavailable):
    public = "A content filter of the language model stopped this answer. Rephrase the question."


class DeadlineExceeded(CitewellError):
    public = ""


class ShuttingDown(CitewellError):
    public = ""


def first_line(err: BaseException) -> str:
    """What a library's error says, short enough for a message of ours; the error's name when it says nothing."""
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:300]
