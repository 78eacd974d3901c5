"""Rerankers when something is wrong that only a real connection or a real model's folder shows."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from indexes.rerankers import load_reranker
from rag.errors import RerankerUnavailable
from tests.contract.test_reranker import HITS


@pytest.fixture
def silent_endpoint() -> Iterator[str]:
    """The URL of a server that takes requests and does not answer while the test runs."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            over.wait(30)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    over.set()
    server.shutdown()
    server.server_close()


def test_the_order_stands_when_the_endpoint_is_late(silent_endpoint: str) -> None:
    assert load_reranker("m", url=silent_endpoint).rank("?", HITS, timeout_s=0.2) == HITS


def test_a_model_that_cannot_be_loaded_says_how_to_mend_it(tmp_path: Path) -> None:
    with pytest.raises(RerankerUnavailable, match=r"Set rerank\.model"):
        load_reranker(str(tmp_path / "none"))
