"""Settings as YAML, as flags and as text: everything that knows the fields of the config by name."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ..errors import BadInput
from .bundled import resolve_config
from .config import Concept, TrainConfig


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
    """A config from the keys of TrainConfig and Concept, as one mapping.

    Raises BadInput for unknown keys, with the nearest right one, and for values of the wrong type.
    """
    check_keys(values, [*field_names(Concept), *SETTINGS])
    if "token" not in values:
        raise BadInput('there is no token to learn: add --token "<my-cat>"')
    concept = Concept(**checked_types(Concept, values))
    return TrainConfig(concept=concept, **checked_types(TrainConfig, values))


def configs_from_mapping(values: Mapping[str, Any], flags: Mapping[str, Any] | None = None) -> list[TrainConfig]:
    """A config for each of the list `concepts`, which may have any key of its own; other keys hold for all.

    flags: keys that override both. Without `concepts`, there is the one config of `config_from_mapping`.
    """
    values, flags = dict(values), flags or {}
    listed = values.pop("concepts", None)
    if listed is None:
        return [config_from_mapping({**values, **flags})]
    if not isinstance(listed, (list, tuple)) or not listed:
        raise BadInput(f"concepts is {listed!r}, which is not a list: write '- token: <my-cat>' beneath it")
    for own in listed:
        if not isinstance(own, Mapping):
            raise BadInput(f"'{own}' in concepts is not a mapping: write '- token: <my-cat>'")
    return [config_from_mapping({**values, **own, **flags}) for own in listed]


def check_keys(values: Mapping[str, Any], known: list[str]) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
            raise BadInput(f"'{key}' is not a setting; {hint}")


SETTINGS = [name for name in field_names(TrainConfig) if name != "concept"]
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
    values = {name: getattr(config.concept, name) for name in field_names(Concept)}
    return values | {name: getattr(config, name) for name in SETTINGS if name not in ("resume", "overwrite")}


def configs_to_yaml(configs: Sequence[TrainConfig]) -> str:
    """The inverse of `configs_from_mapping`: what all have in common stands at the top."""
    first, *others = mappings = [config_to_mapping(config) for config in configs]
    values = {key: value for key, value in first.items() if all(other[key] == value for other in others)}
    if others:
        values["concepts"] = [{k: v for k, v in mapping.items() if k not in values} for mapping in mappings]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
