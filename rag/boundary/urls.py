"""URLs that may hold credentials."""

import re
from urllib.parse import parse_qsl, unquote

from rag.boundary.secrets import MASK

_USER = re.compile(r"(?<=://)[^/?#]*@")
_SECRET_NAME = re.compile(r"pass|pwd|token|secret|key|credential|auth", re.IGNORECASE)
_PARAMETER = re.compile(r"(?<=[?&;])([^=&;#]+)=([^&;#]*)")


def without_credentials(url: str) -> str:
    """A URL without its password, or the token in its place, and without parameters that are called like a secret."""
    bare = _USER.sub(lambda m: f"{_shown_user(url, m[0][:-1])}@", url)
    return _PARAMETER.sub(lambda m: f"{m[1]}={MASK}" if _SECRET_NAME.search(m[1]) else m[0], bare)


def _shown_user(url: str, user_part: str) -> str:
    user, colon, _ = user_part.partition(":")
    return f"{user}:{MASK}" if colon else MASK if url.startswith("http") else user


def credentials_in(url: str) -> list[str]:
    """The passwords and other secrets that a URL holds, as they are written and as they are meant."""
    found: list[str] = []
    if match := _USER.search(url):
        user, colon, password = match[0][:-1].partition(":")
        if colon:
            found += [password, unquote(password)]
        elif url.startswith("http"):  # a token stands for the user there
            found += [user, unquote(user)]
    found += [value for name, value in parse_qsl(url.partition("?")[2]) if _SECRET_NAME.search(name)]
    return [value for value in found if value]


def has_two_ats(url: str) -> bool:
    """Whether the part of a URL that names user and host has two @, so that nobody can say where the password ends."""
    return (_USER.search(url) or [""])[0].count("@") > 1


def user_part(template: str) -> tuple[int, int]:
    """Where user and password stand in a URL: (start, end); (0, 0) when it has none."""
    match = _USER.search(template)
    return (match.start(), match.end() - 1) if match else (0, 0)
