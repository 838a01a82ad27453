"""A hook of mkdocs: `{{ help train }}` on a page becomes what `ti-trainer train --help` says."""

from __future__ import annotations

import os
import re
from typing import Any

from ti_trainer.cli import build_parser

WIDTH = "100"  # letters of a line


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with the help of each command in its place."""

    def told(found: re.Match[str]) -> str:
        os.environ["COLUMNS"] = WIDTH
        _, parser = build_parser(found[1])
        assert parser, f"there is no command {found[1]}"
        return f"```text\n{parser.format_help()}```"

    return re.sub(r"\{\{ help (\w+) \}\}", told, markdown)
