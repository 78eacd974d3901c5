"""Parses files in a process of its own, with a limit on time and memory: a damaged or hostile file hurts nothing else.

python -m connectors.parsers.child MEMORY_BYTES     [path, hidden] as JSON lines on stdin, what they hold on stdout
"""

import json
import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, cast

from connectors.parsers import parse
from connectors.parsers.errors import CannotParse, Ignored
from connectors.parsers.parsed import Hidden, Item, Parsed, Record
from rag.boundary.child import child_environment, python_child
from rag.documents import Section
from rag.errors import SourceError

_START_S = 60.0


class ParserProcess:
    """Starts on the first file and serves many; over a file that breaks its limits it is killed, and starts anew.

    One that does not even start is no file's fault: SourceError.
    """

    def __init__(self, *, timeout_s: float, memory_bytes: int) -> None:
        self._timeout_s, self._memory_bytes = timeout_s, memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        self._errors = TemporaryFile()  # noqa: SIM115 what the process says on stderr, as long as this lives

    def parse(self, path: Path, *, hidden: bool = False) -> Iterator[Item]:
        """Read a file, as `parsers.parse` does; CannotParse too when it cannot be read within the limits."""
        process = self._start()
        sink: IO[bytes] = cast(IO[bytes], process.stdin)
        finished = False
        try:
            sink.write(json.dumps([str(path), hidden]).encode() + b"\n")
            sink.flush()
            waited = 0.0
            while True:
                began = time.monotonic()
                message = self._receive(process, self._timeout_s - waited)
                waited += time.monotonic() - began
                if "end" in message:
                    finished = True
                    _raise(message)
                    return
                yield _item(message)
        except BrokenPipeError as err:
            raise CannotParse(self._how_it_ended(process)) from err
        finally:
            if not finished:
                self.close()

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(  # noqa: S603 our own module, no shell
                python_child("connectors.parsers.child", str(self._memory_bytes)),
                env=child_environment(secrets=False),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
            self._buffer = b""
            try:
                self._receive(self._process, _START_S)
            except CannotParse as err:
                raise SourceError(
                    f"PDF and office files cannot be read, because the process that parses them could not be started: "
                    f"{self._last_words() or err}"
                ) from err
        return self._process

    def _last_words(self) -> str:
        self._errors.seek(0)
        return " ".join(self._errors.read().decode(errors="replace").split("\n")[-4:]).strip()[-500:]

    def _receive(self, process: subprocess.Popen[bytes], timeout_s: float) -> dict[str, Any]:
        results: IO[bytes] = cast(IO[bytes], process.stdout)
        deadline = time.monotonic() + timeout_s
        chunks = [self._buffer]
        while b"\n" not in chunks[-1]:
            ready, _, _ = select.select([results], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                raise CannotParse(f"the file was not parsed within {self._timeout_s:g} s")
            chunks.append(os.read(results.fileno(), 1 << 20))
            if not chunks[-1]:
                raise CannotParse(self._how_it_ended(process))
        line, self._buffer = b"".join(chunks).split(b"\n", 1)
        return dict(json.loads(line))

    def _how_it_ended(self, process: subprocess.Popen[bytes]) -> str:
        code = process.wait()
        return f"the parser ended with exit code {code} (memory limit: {self._memory_bytes >> 20} MB)"

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
            self._errors.truncate(0)
            self._errors.seek(0)


def _item(message: dict[str, Any]) -> Item:
    if "what" in message:
        return Hidden(**message)
    if "key" in message:
        return Record(**message)
    return Parsed(
        text=message["text"], title=message["title"], sections=tuple(Section(**s) for s in message["sections"])
    )


def _raise(message: dict[str, Any]) -> None:
    if message["end"] == "ignored":
        raise Ignored(message["reason"])
    if message["end"] != "done":
        raise CannotParse(message["reason"])


def _serve(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    _send({"ready": True})
    for line in sys.stdin:
        path, hidden = json.loads(line)
        try:
            for item in parse(Path(path), hidden=hidden):
                _send(asdict(item))
            end = {"end": "done"}
        except Ignored as err:
            end = {"end": "ignored", "reason": str(err)}
        except CannotParse as err:
            end = {"end": "failed", "reason": str(err)}
        except MemoryError:
            end = {
                "end": "failed",
                "reason": f"parsing the file needs over {memory_bytes >> 20} MB of memory",
            }
        except Exception as err:  # noqa: BLE001 a library may raise anything over a damaged file
            end = {"end": "failed", "reason": f"the file cannot be read: {type(err).__name__}: {err}"[:500]}
        _send(end)


def _send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
