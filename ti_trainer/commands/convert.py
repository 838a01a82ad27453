"""Write an embedding file in another format."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import BadInput


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="embedding file, of any format that we read")
    parser.add_argument(
        "--to", required=True, metavar="FORMAT", help="webui, diffusers, kohya, onetrainer, a1111-pt or png-card"
    )
    parser.add_argument("--output", help="file or folder (default: the folder of the file, named after the token)")
    parser.add_argument("--token", help="a new name; or which embedding, where the file holds several")
    parser.add_argument("--picture", help="what to draw a png-card on (default: the numbers of the embedding)")
    parser.add_argument("--overwrite", action="store_true", help="write over files that are there")


def run(options: argparse.Namespace) -> None:
    from ..data.images import Picture, read_image
    from ..embedding_files.conversion import conversion_text, convert

    if options.picture and not Path(options.picture).is_file():
        raise BadInput(f"--picture {options.picture} is not a file")
    values = vars(options)
    if options.picture:
        values["picture"] = read_image(Picture.at(Path(options.picture)))
    print(conversion_text(convert(**values)))
