"""The ways in which a run ends early, each with a message for the person who started it."""

from __future__ import annotations


class BadInput(ValueError):
    """What was asked for cannot be done; the message names the value and the cure."""


class Diverged(RuntimeError):
    """The loss or a gradient became NaN or infinite; everything up to the last good step is saved."""


class Incomplete(RuntimeError):
    """Some of many concepts failed, for the reasons that the message lists; the others are finished."""


class Interrupted(RuntimeError):
    """A signal asked the run to stop; everything is saved and the message names the command that continues."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
