"""Private keys, whatever file they lie in: they are read by nobody."""

import re

_PRIVATE_KEY = re.compile(rb"\s*(?:#[^\n]*\n\s*)*-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-")


def is_private_key(head: bytes) -> bool:
    """Whether a file that begins so holds a private key, whatever its name."""
    return _PRIVATE_KEY.match(head.removeprefix(b"\xef\xbb\xbf")) is not None
