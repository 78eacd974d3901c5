"""Files that are no documents though they could be read: secrets, what programs make, and what ignore files name.

They are left out by default. `include` takes them in, and so does a path that names the very file. Nothing takes in the
configuration and Citewell's own data.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path

from pathspec import GitIgnoreSpec

from connectors.files.patterns import Pattern

# Names of files: of secrets, and of what programs write for programs.
_FILES = """
    *.env .env* *.pem *.key *.ppk *.p12 *.pfx *.jks *.keystore *.kdb *.kdbx *.gpg *.pgp *.ovpn *.tfstate *.tfstate.*
    *.tfvars id_rsa* id_dsa* id_ecdsa* id_ed25519* authorized_keys known_hosts *htpasswd *.netrc *pgpass *my.cnf
    credentials credentials.json credentials.y*ml secret.json secret.y*ml secret.toml secrets.json secrets.y*ml
    secrets.toml service-account*.json service_account*.json citewell*.toml
    *.min.js *.min.css *.map *.lock *.lockb package-lock.json npm-shrinkwrap.json pnpm-lock.yaml go.sum *.pyc *.pyo
    *.class *.o *.so *.dll
    """
_LEFT_NAME = re.compile(rf"\A(?:{'|'.join(map(translate, _FILES.split()))})")
_FOLDERS = frozenset(
    "node_modules bower_components jspm_packages __pycache__ site-packages cvs _darcs .git .hg .svn .bzr".split()
)
_OUTPUT = frozenset({"build", "dist", "target", "out"})  # where one of these files stands beside it
_BUILDS = (
    "package.json", "pyproject.toml", "setup.py", "Cargo.toml", "pom.xml", "build.gradle", "build.gradle.kts",
    "CMakeLists.txt", "build.sbt", "mix.exs",
)  # fmt: skip
_IGNORE_FILES = (".gitignore", ".citewellignore")
_MOST_NAMED = 5


@dataclass(slots=True)
class LeftOut:
    """What is left out of a source's files. met: what was, relative to the root; a folder ends with a slash.

    own: the configuration and Citewell's data. include: patterns of what is read all the same.
    """

    root: Path
    own: Sequence[Path] = ()
    include: Sequence[Pattern] = ()
    met: set[str] = field(default_factory=set)
    _rules: dict[str, list[tuple[str, GitIgnoreSpec]]] = field(default_factory=dict)
    _ignored: dict[str, bool] = field(default_factory=dict)

    def below(self, base: str) -> "Below":
        """The same for what a path's base holds. The base itself was named, so no rule leaves it out."""
        return Below(self, base)

    def is_own(self, path: str) -> bool:
        """Whether a path is of Citewell itself."""
        return any(path == str(own) or path.startswith(f"{own}/") for own in self.own)

    def leaves(self, path: str, base: str, *, folder: bool) -> bool:
        """Whether a file, or a folder with all that is below it, is left out of what is below a base."""
        if self.is_own(path):
            return True
        if path == base or self._is_included(path, folder=folder):
            return False
        out = _is_left_by_name(path, folder=folder) or self._is_ignored(path, base, folder=folder)
        if out:
            self.met.add(os.path.relpath(path, self.root) + ("/" if folder else ""))
        return out

    def _is_included(self, path: str, *, folder: bool) -> bool:
        return any(pattern.reaches(path) if folder else pattern.fits(path) for pattern in self.include)

    def _is_ignored(self, path: str, base: str, *, folder: bool) -> bool:
        """What the ignore files above say; the nearest one that says anything holds."""
        for place, spec in reversed(self._rules_of(os.path.dirname(path))):
            if _is_above(place, base) and self._base_is_ignored(base):
                continue  # it was named all the same
            name = os.path.relpath(path, place) + ("/" if folder else "")
            ignored = spec.check_file(name).include
            if ignored is not None:
                return ignored
        return False

    def _base_is_ignored(self, base: str) -> bool:
        if base not in self._ignored:
            self._ignored[base] = False  # while it is found out: nothing is above the base that it could be named by
            self._ignored[base] = self._is_ignored(base, base, folder=True)
        return self._ignored[base]

    def _rules_of(self, folder: str) -> list[tuple[str, GitIgnoreSpec]]:
        """The ignore files that hold in a folder, those of the folders above it first."""
        if folder not in self._rules:
            above = os.path.dirname(folder)
            ends = above == folder or os.path.exists(f"{folder}/.git")
            rules = [] if ends else self._rules_of(above)
            found = [(folder, spec) for name in _IGNORE_FILES if (spec := _read(f"{folder}/{name}")) is not None]
            self._rules[folder] = [*rules, *found]
        return self._rules[folder]

    def told(self) -> str:
        """What was left out, in a sentence; empty when nothing was."""
        if not self.met:
            return ""
        names = sorted(self.met)
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        return (
            f"Left out as secrets, build output or by ignore files: {', '.join(names[:_MOST_NAMED])}{more}. "
            'To read one of them anyway, name it in include = ["…"].'
        )


@dataclass(frozen=True, slots=True)
class Below:
    """What is left out below a base; asked like a pattern of `exclude`."""

    whole: LeftOut
    base: str

    def covers(self, folder: str) -> bool:
        return self.whole.leaves(folder, self.base, folder=True)

    def fits(self, path: str) -> bool:
        return self.whole.leaves(path, self.base, folder=False)


def _is_above(folder: str, base: str) -> bool:
    """Whether a folder is above a base, or elsewhere: not the base, and not below it."""
    return folder != base and not folder.startswith(f"{base}/")


def _is_left_by_name(path: str, *, folder: bool) -> bool:
    above, name = os.path.split(path)
    low = name.lower()
    if not folder:
        return _LEFT_NAME.match(low) is not None
    if low in _FOLDERS or low.endswith((".egg-info", ".dist-info")) or os.path.exists(f"{path}/pyvenv.cfg"):
        return True
    return low in _OUTPUT and any(os.path.exists(f"{above}/{built}") for built in _BUILDS)


def _read(path: str) -> GitIgnoreSpec | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return GitIgnoreSpec.from_lines(file)
    except OSError:
        return None
