"""The web page's modules, tested in node (tests/web)."""

import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="node is missing: the page's modules are not tested")
def test_the_modules_of_the_page_do_what_their_tests_say() -> None:
    tests = sorted(WEB.glob("*.test.js"))
    command = [str(NODE), "--no-warnings", "--test", "--test-reporter=spec", *map(str, tests)]
    ran = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=150)
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr
    assert tests
