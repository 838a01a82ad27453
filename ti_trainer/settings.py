"""Settings as YAML, as flags and as text: everything that knows the fields of the config by name."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from .bundled import resolve_config
from .config import Concept, TrainConfig
from .errors import BadInput


@cache
def field_documentation(kind: type) -> dict[str, str]:
    """The text beneath each field of a dataclass, its bases' included, by field name."""
    documentation = {}
    for owner in filter(dataclasses.is_dataclass, kind.__mro__):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(definition, ast.ClassDef)
        for field, text in zip(definition.body, definition.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                assert isinstance(field.target, ast.Name)
                documentation[field.target.id] = " ".join(str(text.value.value).split())
    return documentation


def field_names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def config_from_mapping(values: Mapping[str, Any]) -> TrainConfig:
    """A config from YAML keys: TrainConfig's, and Concept's at the top or in a list `concepts`.

    Keys of Concept at the top (`init: cat`) hold for every concept that does not have its own. Raises BadInput for
    unknown keys, with the nearest right one, and for values of the wrong type.
    """
    values = dict(values)
    listed = values.pop("concepts", None) or [{}]
    if not isinstance(listed, (list, tuple)):
        raise BadInput(f"concepts is {listed!r}, which is not a list: write '- token: <my-cat>' beneath it")
    known = [*field_names(Concept), *field_names(TrainConfig)]
    check_keys(values, known)
    shared = {key: values.pop(key) for key in field_names(Concept) if key in values}
    concepts = []
    for own in listed:
        if not isinstance(own, Mapping):
            raise BadInput(f"'{own}' in concepts is not a mapping: write '- token: <my-cat>'")
        check_keys(own, field_names(Concept))
        merged = {**shared, **own}
        if "token" not in merged:
            raise BadInput('there is no token to learn: add --token "<my-cat>"')
        concepts.append(Concept(**checked_types(Concept, merged)))
    return TrainConfig(concepts=tuple(concepts), **checked_types(TrainConfig, values))


def check_keys(values: Mapping[str, Any], known: list[str]) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
            raise BadInput(f"'{key}' is not a setting; {hint}")


SCALARS: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


def checked_types(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with whole numbers and numerals (YAML reads 5e-3 as text) made floats where a float is wanted."""
    checked = {}
    for field in dataclasses.fields(kind):
        if field.name not in values:
            continue
        name, _, optional = str(field.type).partition(" | ")
        value, wanted = values[field.name], SCALARS[name]
        try:
            if wanted is float and not isinstance(value, bool):
                value = float(value)
            if not (type(value) is wanted or (optional and value is None)):
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            raise BadInput(f"'{field.name}' is {value!r}, which is not of type {name}") from None
        checked[field.name] = value
    return checked


def read_yaml(path: str) -> dict[str, Any]:
    """The mapping in a YAML file; raises BadInput when there is none."""
    try:
        values = yaml.safe_load(Path(resolve_config(path)).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"--config {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"--config {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise BadInput(f"--config {path} holds no settings: write lines such as 'steps: 400'")
    return values


def config_to_mapping(config: TrainConfig) -> dict[str, Any]:
    """The inverse of `config_from_mapping`; every field but those that say how to start."""
    values = dataclasses.asdict(config)
    values["concepts"] = [dict(concept) for concept in values["concepts"]]
    for start in ("resume", "overwrite"):
        del values[start]
    return values


def config_to_yaml(config: TrainConfig) -> str:
    return yaml.safe_dump(config_to_mapping(config), sort_keys=False, allow_unicode=True)
