"""What a child process is given."""

import os
import sys

import pytest

from rag.boundary.child import child_environment, python_child

OWN = {"PATH": "/bin", "LC_ALL": "C", "DB_PASSWORD": "hunter22", "PYTHONPATH": f"/src{os.pathsep}lib{os.pathsep}"}


def test_a_module_runs_without_the_folder_that_one_stands_in() -> None:
    assert python_child("a.b", "--x") == [sys.executable, "-P", "-m", "a.b", "--x"]


@pytest.mark.parametrize("secrets", [True, False])
def test_only_a_child_that_reads_the_configuration_gets_the_other_variables(secrets: bool) -> None:
    given = child_environment(secrets=secrets, environ=OWN)
    assert ("DB_PASSWORD" in given) == secrets
    assert (given["PATH"], given["LC_ALL"]) == ("/bin", "C")


def test_only_absolute_places_of_modules_are_handed_on() -> None:
    given = child_environment(secrets=True, environ=OWN)
    assert (given["PYTHONPATH"], given["PYTHONSAFEPATH"]) == ("/src", "1")
    assert "PYTHONPATH" not in child_environment(secrets=True, environ={"PYTHONPATH": "lib"})
