"""Our import names are ordinary words; no other distribution may own one of them."""

from importlib.metadata import packages_distributions

import pytest


@pytest.mark.parametrize("name", ["rag", "connectors", "indexes", "service"])
def test_no_other_distribution_owns_an_import_name_of_ours(name: str) -> None:
    assert set(packages_distributions().get(name, ["citewell"])) == {"citewell"}
