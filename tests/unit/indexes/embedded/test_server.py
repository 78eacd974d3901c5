import json
from typing import Any, cast

import pytest
from pydantic import BaseModel

from indexes.embedded.server import _answer
from indexes.embedded.store import NotFound, Store
from indexes.embedded.translate import Unsupported

NO_STORE = cast(Store, None)


class Body(BaseModel):
    limit: int


def answer(result: Any) -> tuple[int, dict[str, Any]]:
    def handler(store: Store, name: str, body: bytes) -> Any:
        if isinstance(result, Exception):
            raise result
        return Body.model_validate_json(body) if result is Body else result

    response = _answer(handler, NO_STORE, "kb", b'{"limit": "many"}')
    return response.status_code, json.loads(bytes(response.body))


def test_a_result_is_told_as_qdrant_tells_it() -> None:
    status, body = answer({"count": 3})
    assert (status, body["result"], body["status"]) == (200, {"count": 3}, "ok")


@pytest.mark.parametrize(("error", "status", "text"), [
    (NotFound("kb"), 404, "Collection `kb` doesn't exist"),
    (FileExistsError("Collection `kb` already exists!"), 409, "already exists"),
    (Unsupported("no geo"), 400, "Unsupported: no geo"),
    (KeyError("vector"), 400, "KeyError: 'vector'"),
    (Body, 400, "ValidationError"),
    (OSError("No space left on device"), 500, "OSError: No space left"),
])  # fmt: skip
def test_what_goes_wrong_is_told_by_whose_fault_it_is(error: Any, status: int, text: str) -> None:
    found, body = answer(error)
    assert found == status
    assert text in body["status"]["error"]
