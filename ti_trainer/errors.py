"""The ways in which a run ends early, each with a message for the person who started it.

`code` is for programs: it is in the manifest, and in what `--progress json` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class BadInput(ValueError):
    """What was asked for cannot be done; the message names the value and the cure."""

    code: ClassVar[str] = "bad_input"


class Refused(BadInput):
    """What a row of somebody else's list may not set, name or reach."""

    code = "refused"


class Unavailable(BadInput):
    """What is not there, or not allowed, at this time and place: a bucket, a right, a server."""

    code = "unavailable"


class Diverged(RuntimeError):
    """The loss or a gradient became NaN or infinite; everything up to the last good step is saved."""

    code: ClassVar[str] = "diverged"


class Bug(RuntimeError):
    """A mistake in the program, met by one of many concepts; the message names the file with its traceback."""

    code: ClassVar[str] = "bug"


class Recorded(RuntimeError):
    """A problem that an earlier attempt has met, or another process, with the code that it had there."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Incomplete(RuntimeError):
    """Some of many concepts failed, for the reasons that the message lists; the others are finished."""

    @classmethod
    def because(cls, reasons: Mapping[str, str], count: int) -> Incomplete:
        """Of so many concepts; reasons: of those that failed, by their names."""
        lines = [f"{len(reasons)} of {count} concepts failed:", *(f"  {name}: {why}" for name, why in reasons.items())]
        return cls("\n".join(lines))


class Interrupted(RuntimeError):
    """A signal asked the run to stop; everything is saved and the message names the command that continues."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def code_of(problem: BaseException) -> str:
    """What programs are told of a problem: the system's (a full disk) are `unavailable`, unforeseen ones bugs."""
    return getattr(problem, "code", Unavailable.code if isinstance(problem, OSError) else Bug.code)
