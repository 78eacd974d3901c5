"""What a caller reaches through a knowledge base has its type: mypy refuses what is not there."""

from pathlib import Path

import pytest

SNIPPET = """
from service import connect

kb = connect("citewell.toml")
kb.services.ledger().nonsense()
kb.services.collection.current().index.nonsense()
kb.services.asker.nonsense()
kb.settings.nonsense
"""


@pytest.mark.timeout(600)
def test_mypy_refuses_a_part_s_method_that_is_not_there(tmp_path: Path) -> None:
    from mypy import api  # takes half a second to import

    (tmp_path / "snippet.py").write_text(SNIPPET)
    output, _, status = api.run(["--strict", "--config-file", "pyproject.toml", str(tmp_path / "snippet.py")])
    assert status == 1
    assert output.count('has no attribute "nonsense"') == 4, output
