"""Serve a page on which words are learned without a terminal."""

from __future__ import annotations

import argparse

from .flags import Parser, add_number

USAGE = "[--output DIR] [--port INT]"
EXAMPLE = "ti-trainer ui --output runs --roots photos"


def add_flags(parser: Parser) -> None:
    parser.add("--output", metavar="DIR", default="runs", help="folder of the runs (default: %(default)s)")
    parser.add(
        "--roots", metavar="DIR", nargs="+", default=[], help="folders of this machine that the page may read from"
    )
    parser.add("--models_dir", metavar="DIR", help="a further folder in which models are looked for")
    parser.add("--work", metavar="DIR", help="folder for copies of pictures (default: .ui in --output)")
    parser.add("--host", default="127.0.0.1", help="address to listen on; others than this machine's need --auth")
    add_number(parser, "port", 7860, "port to listen on; 0 takes a free one", low=0, high=65_535)
    parser.add(
        "--auth", metavar="NAME:PASSWORD", help="who may look at the page; @FILE takes it from a file, unseen by others"
    )
    parser.add("--open", action="store_true", help="open the page in a browser")


def run(options: argparse.Namespace) -> None:
    from ..app.serve import serve

    flags = vars(options)
    serve(inbrowser=flags.pop("open"), **flags)
