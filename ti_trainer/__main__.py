"""python -m ti_trainer (the same as `ti-trainer`)."""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """End the process as it is: nothing more is written, and what is on the disk is whole."""
    os._exit(128 + number)


def on_interrupt(number: int, frame: FrameType | None) -> None:
    """The first Ctrl-C ends a command in good order, and another the process; training handles the first one itself."""
    is_second = signal.getsignal(number) is not on_interrupt
    signal.signal(number, leave)
    if is_second:
        leave(number, frame)
    raise KeyboardInterrupt


def program(arguments: Sequence[str] | None = None) -> NoReturn:
    """`cli.main` as a process of its own, in which Ctrl-C is handled from the first moment to the last."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, on_interrupt)
    try:
        from .cli import main
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(main(arguments))


if __name__ == "__main__":
    program()
