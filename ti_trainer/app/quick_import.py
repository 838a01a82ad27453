"""Gradio's import, which parses the source of each of its components to write type stubs beside it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn
from unittest.mock import patch


@contextmanager
def without_stubs() -> Iterator[None]:
    """Inside the block gradio takes its components for such that have no source file, and writes no stubs.

    That is .85 of the 2.05 s that its import takes on 2 cores, and nothing is written into its folder.
    """

    def no_file(thing: object) -> NoReturn:
        raise OSError

    with patch.object(inspect, "getfile", no_file):
        yield
