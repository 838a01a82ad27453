"""Reads every bad input in one process, and prints for each what became of it, how long it took and how much memory.

python -m tests.strangers.budget FOLDER
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import warnings
from pathlib import Path

from tests.strangers.bad_inputs import CASES
from tests.strangers.readers import READERS
from ti_trainer.errors import BadInput

HANGS = 60  # seconds after which the process ends with a traceback of where it is


def memory(what: str) -> float:
    """VmRSS, what is held now, or VmHWM, the most since `forget_peak`, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def outcome(reader: str, path: Path) -> str:
    """What the user would be told; empty where the file can be read."""
    try:
        READERS[reader](path)
    except BadInput as problem:
        return str(problem)
    return ""


def main() -> None:
    warnings.simplefilter("ignore")
    for number, (case, (reader, name, write, _)) in enumerate(CASES.items()):
        folder = Path(sys.argv[1], str(number))
        folder.mkdir()
        write(folder / name)
        faulthandler.dump_traceback_later(HANGS, exit=True)
        forget_peak()
        held = memory("VmRSS")
        began = os.times().user  # what the system needs to hand out 400 MiB differs tenfold between machines
        try:
            said = outcome(reader, folder / name)
        except BaseException as error:
            said = f"!!! {type(error).__name__}: {error}"
        seconds = os.times().user - began
        print(json.dumps([case, said, seconds, memory("VmHWM") - held]), flush=True)
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
