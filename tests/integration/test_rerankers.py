"""Rerankers behind endpoints on loopback, of both forms, and what they do when something is wrong."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from indexes.rerankers import load_reranker
from rag.documents import Chunk, Document, Hit
from rag.errors import RerankerUnavailable

TEXTS = ("about cats", "about dogs", "about fish")


def hit(number: int, text: str) -> Hit:
    document = Document(id=f"d{number}", source="s", title="T", text=text, uri="u")
    chunk = Chunk(id=f"c{number}", document=document, ordinal=0, text=text, start=0, end=len(text))
    return Hit(chunk=chunk, score=1 - number / 10)


HITS = [hit(i, text) for i, text in enumerate(TEXTS)]


def order(hits: list[Hit]) -> list[str]:
    return [hit.chunk.document.id for hit in hits]


class Endpoint:
    """Answers POSTs with what `answer` makes of their bodies; `hold` keeps it from answering."""

    def __init__(self, answer: Callable[[dict[str, Any]], Any]) -> None:
        self.hold = threading.Event()
        self.hold.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.hold.wait(30)
                made = json.dumps(answer(body)).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(made)))
                self.end_headers()
                self.wfile.write(made)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[dict[str, Any]], Any]], Endpoint]]:
    opened: list[Endpoint] = []

    def start(answer: Callable[[dict[str, Any]], Any]) -> Endpoint:
        opened.append(Endpoint(answer))
        return opened[-1]

    yield start
    for endpoint in opened:
        endpoint.close()


def cohere(body: dict[str, Any]) -> Any:
    rows = [{"index": i, "relevance_score": float("fish" in text)} for i, text in enumerate(body["documents"])]
    return {"results": sorted(rows, key=lambda row: -row["relevance_score"])}


def tei(body: dict[str, Any]) -> Any:
    return [{"index": i, "score": float("fish" in text)} for i, text in enumerate(body["texts"])]


@pytest.mark.parametrize("answer", [cohere, tei])
def test_an_endpoint_of_either_form_orders_the_hits(serve: Any, answer: Any):
    ranked = load_reranker("m", url=serve(answer).url).rank("which swims?", HITS, timeout_s=5)
    assert order(ranked) == ["d2", "d0", "d1"]
    assert ranked[0].score == 1.0
    assert ranked[0].scores == {"fused": 0.8, "rerank": 1.0}


def test_the_order_stands_when_the_endpoint_is_late(serve: Any):
    endpoint = serve(cohere)
    endpoint.hold.clear()
    assert order(load_reranker("m", url=endpoint.url).rank("?", HITS, timeout_s=0.2)) == ["d0", "d1", "d2"]


@pytest.mark.parametrize(
    "nonsense", [{}, {"results": []}, [{"index": 0, "score": 1}], {"results": [{"index": "x"}]}, 7]
)
def test_the_order_stands_when_the_answer_is_nonsense(serve: Any, nonsense: Any):
    assert load_reranker("m", url=serve(lambda body: nonsense).url).rank("?", HITS, timeout_s=5) == HITS


def test_a_model_that_cannot_be_loaded_says_how_to_mend_it(tmp_path: Path):
    with pytest.raises(RerankerUnavailable, match=r"Set rerank\.model"):
        load_reranker(str(tmp_path / "none"))
