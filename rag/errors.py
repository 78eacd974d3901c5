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
    │   └── EngineBusy         the language model's queue is full
    ├── DeadlineExceeded       the request's time ran out before there was anything to say
    └── ShuttingDown           the service ended before the answer did

A message says what happened, the value that was seen, and how to mend it.
"""


class CitewellError(Exception):
    """Base of the tree."""


class ConfigError(CitewellError):
    pass


class QuestionError(CitewellError):
    pass


class FilterError(QuestionError):
    pass


class AnswerCut(QuestionError):
    pass


class SourceError(CitewellError):
    pass


class MassDeleteRefused(SourceError):
    pass


class SourceBusy(CitewellError):
    pass


class LeaseLost(SourceBusy):
    pass


class RunStopped(CitewellError):
    pass


class StateUnavailable(CitewellError):
    pass


class IndexUnavailable(CitewellError):
    pass


class IndexMoved(IndexUnavailable):
    pass


class IndexMismatch(CitewellError):
    pass


class ReindexRefused(CitewellError):
    pass


class EmbedderUnavailable(CitewellError):
    pass


class RerankerUnavailable(CitewellError):
    pass


class GeneratorUnavailable(CitewellError):
    pass


class EngineBusy(GeneratorUnavailable):
    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(CitewellError):
    pass


class ShuttingDown(CitewellError):
    pass
