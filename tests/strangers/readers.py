"""Every reader of what strangers may have written, by name: each takes the path of one file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

from ti_trainer.config.concept_lists import read_concepts
from ti_trainer.config.settings import configs_from_mapping, read_yaml
from ti_trainer.data.captions import load_templates, words_of_file
from ti_trainer.data.examples import Example, MaskSource
from ti_trainer.data.images import Picture, decode
from ti_trainer.data.masks import upright_mask
from ti_trainer.data.scanning import own_captions
from ti_trainer.data.sources.folders import Found
from ti_trainer.data.sources.lists import ANY_COLUMNS, read_list
from ti_trainer.embedding_files import read_embedding
from ti_trainer.embedding_files.formats import FORMATS
from ti_trainer.files.reach import EVERYWHERE
from ti_trainer.method.tokens import expand


def read_caption(path: Path) -> Any:
    """A caption, with rows in the places of its token."""
    (text,) = own_captions(
        Found(Picture.at(path.with_suffix(".png")), PurePath("x.png"), caption_file=path), EVERYWHERE
    )
    return expand(text, {"<cat>": range(4)})


def read_config(path: Path) -> Any:
    return configs_from_mapping({"token": "<cat>", **read_yaml(str(path))})


def read_mask_file(path: Path) -> Any:
    """A mask of a picture of 24 x 32 pixels."""
    example = Example(Picture.at(path), (), (24, 32), mask=MaskSource(Picture.at(path)))
    assert example.mask
    return upright_mask(example, example.mask)


def read_and_pack(path: Path) -> Any:
    """An embedding, and the file that `convert` would write of it."""
    found = read_embedding(path)
    pack = FORMATS["diffusers"].pack
    assert pack
    return pack(found)


def read_name(path: Path) -> Any:
    """The text of a file as the name of a picture, which lists may give and is longer than names of files."""
    return words_of_file(os.fsdecode(path.read_bytes()))


def read_rows(path: Path) -> Any:
    """The rows of a list of concepts; raises the problem of the first that has one."""
    for row in read_concepts(str(path)):
        if row.problem:
            raise row.problem


READERS: dict[str, Callable[[Path], Any]] = {
    "caption": read_caption,
    "templates": lambda path: load_templates(str(path)),
    "list of pictures": lambda path: read_list(path, ANY_COLUMNS),
    "list of concepts": read_rows,
    "config": read_config,
    "picture": lambda path: decode(Picture.at(path)),
    "picture, looked at": lambda path: decode(Picture.at(path), at_least=64),
    "mask": read_mask_file,
    "embedding": read_and_pack,
    "name": read_name,
}
