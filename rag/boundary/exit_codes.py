"""Exit codes of the `citewell` command, for the command itself and for what runs it as a child."""

from enum import IntEnum


class ExitCode(IntEnum):
    """A run that a signal ended has 128 + the signal's number."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    QUARANTINE = 3  # done, but some documents or tables could not be read
    BUSY = 75  # another run holds the source
    INTERRUPTED = 130  # SIGINT
    TERMINATED = 143  # SIGTERM


WELL = frozenset({ExitCode.DONE, ExitCode.QUARANTINE})
STOPPED = frozenset({ExitCode.INTERRUPTED, ExitCode.TERMINATED})
