"""Where an embedded engine listens."""

import hashlib
import os
import tempfile
from pathlib import Path

_LONGEST = 100  # a Unix socket's path may have 107 bytes


def socket_path(folder: Path) -> Path:
    """The socket of a folder's engine: inside it, or in a private temporary folder when its path is too long.

    Raises PermissionError when another user owns that temporary folder.
    """
    folder = folder.resolve()
    inside = folder / "engine.sock"
    if len(os.fsencode(inside)) <= _LONGEST:
        return inside
    private = Path(tempfile.gettempdir()) / f"citewell-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.stat().st_uid != os.getuid():
        raise PermissionError(f"{private} belongs to another user; set TMPDIR to a folder of your own")
    return private / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:24]}.sock"
