"""The ways in which a run ends early, each with a message for the person who started it."""

from __future__ import annotations

from collections.abc import Mapping


class BadInput(ValueError):
    """What was asked for cannot be done; the message names the value and the cure."""


class Diverged(RuntimeError):
    """The loss or a gradient became NaN or infinite; everything up to the last good step is saved."""


class Bug(RuntimeError):
    """A mistake in the program, met by one of many concepts; the message names the file with its traceback."""


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
