"""What is no document though it could be read: left out by default, told, and taken in when it is asked for."""

from pathlib import Path

import pytest

from connectors.files.left_out import LeftOut
from connectors.files.patterns import Pattern
from connectors.files.search import find_files
from connectors.parsers.private_key import is_private_key
from rag.errors import SourceError

SECRETS = (
    "app.env", "Prod.ENV", "server.pem", "server.key", "id_rsa", "id_ed25519.pub", "keys/deploy.p12", "vault.kdbx",
    "credentials.json", "secrets.yaml", "terraform.tfstate", "terraform.tfstate.backup", "prod.tfvars", "citewell.toml",
    "citewell.prod.toml", "service-account-7.json", ".htpasswd", "x.htpasswd",
)  # fmt: skip
OUTPUT = (
    "node_modules/pkg/readme.md", "web/node_modules/pkg/readme.md", "__pycache__/a.txt", "lib/site-packages/pkg/notes.txt",
    "web/dist/index.html", "web/build/a.html", "venv/notes.txt", "app.min.js", "package-lock.json", "poetry.lock",
    "pkg.egg-info/top.txt",
)  # fmt: skip
DOCUMENTS = (
    "a.md", "environment.md", "key.md", "keys/about.md", "build/house.md", "dist/prices.csv", "secret-santa.md", "monkey.txt",
    "web/src/a.txt", "out/of/office.md", "target/q1.md",
)  # fmt: skip


def make(root: Path, *names: str, text: str = "text") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def read(root: Path, *paths: str, include: tuple[str, ...] = (), own: tuple[Path, ...] = ()) -> tuple[set[str], str]:
    """The files that are read, and what is told of the others."""
    left = LeftOut(root, own=own, include=[Pattern.of(root, pattern) for pattern in include])
    found = find_files("docs", root, paths, (), left)
    assert found.unreadable == {}
    return set(found.files), left.told()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make(tmp_path, *SECRETS, *OUTPUT, *DOCUMENTS, "web/package.json", "venv/pyvenv.cfg")
    return tmp_path


def test_secrets_and_build_output_are_left_out_and_told(root: Path) -> None:
    found, told = read(root, "**/*")
    assert found == {*DOCUMENTS, "web/package.json"}
    assert "Left out as secrets, build output or by ignore files: Prod.ENV" in told
    assert "include" in told


@pytest.mark.parametrize("name", [name for name in SECRETS if not name.startswith(".")])
def test_a_path_that_names_the_very_file_takes_it_in(root: Path, name: str) -> None:
    assert read(root, name) == ({name}, "")


def test_include_takes_in_what_it_names_and_nothing_else(root: Path) -> None:
    found, _ = read(root, "**/*", include=("web/node_modules/pkg/*.md", "app.env"))
    assert found == {*DOCUMENTS, "web/package.json", "web/node_modules/pkg/readme.md", "app.env"}


def test_a_path_that_begins_within_build_output_was_meant(root: Path) -> None:
    assert read(root, "web/node_modules/pkg/**/*")[0] == {"web/node_modules/pkg/readme.md"}
    assert read(root, "web/dist")[0] == {"web/dist/index.html"}


def test_the_configuration_and_our_own_data_are_never_read(root: Path) -> None:
    make(root, "data/state.txt", "our.toml")
    own = (root / "data", root / "our.toml")
    (root / "other.txt").symlink_to(root / "our.toml")
    found, _ = read(root, "**/*", include=("data/**/*", "our.toml", "other.txt"), own=own)
    assert found == {*DOCUMENTS, "web/package.json"}
    for path in ("our.toml", "other.txt"):
        with pytest.raises(SourceError, match="nothing that matches"):
            read(root, path, own=own)


def test_ignore_files_are_read_as_git_reads_them(root: Path) -> None:
    make(root, "drafts/plan.md", "drafts/keep.md", "web/notes/a.md", "web/notes/b.md", "deep/tmp/a.md", "tmp/a.md")
    (root / ".gitignore").write_text("/tmp/\ndrafts/*\n!drafts/keep.md\n# nothing\n\n*.csv\n")
    (root / "web" / ".citewellignore").write_text("notes/b.md\n")
    found, told = read(root, "**/*")
    expected = {*DOCUMENTS, "web/package.json", "drafts/keep.md", "web/notes/a.md", "deep/tmp/a.md"} - {
        "dist/prices.csv"
    }
    assert found == expected
    assert "more" in told


def test_the_nearest_ignore_file_holds(root: Path) -> None:
    make(root, "web/notes/b.csv")
    (root / ".gitignore").write_text("*.csv\n")
    (root / "web" / ".gitignore").write_text("!*.csv\n")
    assert "web/notes/b.csv" in read(root, "web/**/*")[0]
    assert "dist/prices.csv" not in read(root, "**/*")[0]


def test_ignore_files_above_the_folder_hold_but_not_above_its_repository(tmp_path: Path) -> None:
    make(tmp_path, "repo/docs/a.md", "repo/docs/b.tmp", ".gitignore", text="docs/\n")
    make(tmp_path, "repo/.git/config")
    (tmp_path / "repo" / ".gitignore").write_text("*.tmp\n")
    assert read(tmp_path / "repo" / "docs", "**/*")[0] == {"a.md"}


def test_a_folder_that_is_ignored_and_named_is_read(root: Path) -> None:
    make(root, "drafts/plan.md", "drafts/in/plan.md", "drafts/scratch.md")
    (root / ".gitignore").write_text("drafts/\n")
    (root / "drafts" / ".gitignore").write_text("scratch.md\n")
    assert read(root, "drafts/**/*")[0] == {"drafts/plan.md", "drafts/in/plan.md"}
    assert "drafts/plan.md" not in read(root, "**/*")[0]


def test_where_all_that_a_path_names_is_left_out_that_is_said(root: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing that matches .* is read\. Left out as secrets.*app\.env"):
        read(root, "*.env")


@pytest.mark.parametrize(
    "head",
    [
        b"-----BEGIN RSA PRIVATE KEY-----\nMII", b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN OPENSSH PRIVATE KEY-----\n",
        b"\xef\xbb\xbf-----BEGIN ENCRYPTED PRIVATE KEY-----", b"\n\n-----BEGIN EC PRIVATE KEY-----",
        b"-----BEGIN PGP PRIVATE KEY BLOCK-----", b"# mine\n-----BEGIN DSA PRIVATE KEY-----", b"PuTTY-User-Key-File-3: ssh-rsa",
    ],
)  # fmt: skip
def test_a_private_key_is_known_by_its_beginning(head: bytes) -> None:
    assert is_private_key(head)


@pytest.mark.parametrize(
    "head",
    [b"", b"-----BEGIN CERTIFICATE-----", b"-----BEGIN PUBLIC KEY-----", b"A key begins -----BEGIN PRIVATE KEY-----"],
)
def test_other_text_is_no_private_key(head: bytes) -> None:
    assert not is_private_key(head)


def test_a_folder_that_is_left_out_is_told_as_one(tmp_path: Path) -> None:
    make(tmp_path, "a.md", "node_modules/x/a.md", "poetry.lock")
    _, told = read(tmp_path, "**/*")
    assert "node_modules/, poetry.lock." in told
