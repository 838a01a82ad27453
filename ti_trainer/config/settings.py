"""Configs from mappings and YAML and back, and what is known of all their settings."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import reprlib
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ..errors import BadInput
from ..files.wording import flag, keys_of_a_file, printable
from ..files.yaml_text import read_yaml_file
from .bundled import resolve_config
from .concept import Concept
from .config import TrainConfig
from .fields import Setting, settings_of
from .other_names import other_name


@cache
def field_documentation(kind: type) -> dict[str, str]:
    """The text beneath each field of a dataclass, its bases' included, by field name."""
    documentation = {}
    for owner in filter(dataclasses.is_dataclass, reversed(kind.__mro__)):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(definition, ast.ClassDef)
        for field, text in zip(definition.body, definition.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                assert isinstance(field.target, ast.Name)
                documentation[field.target.id] = " ".join(str(text.value.value).split())
    return documentation


def settings_of_run(kind: type[TrainConfig] = TrainConfig) -> dict[str, Setting]:
    """Every setting of a run, by name: those of its concept, then those of its config."""
    return {**settings_of(Concept), **settings_of(kind)}


def marked(mark: str, kind: type[TrainConfig] = TrainConfig) -> tuple[str, ...]:
    """The names of the settings of a run that carry a mark, such as "free_on_resume"; see About."""
    return tuple(name for name, one in settings_of_run(kind).items() if getattr(one.about, mark))


def config_from_mapping(
    values: Mapping[str, Any], flags: Mapping[str, Any] | None = None, kind: type[TrainConfig] = TrainConfig
) -> TrainConfig:
    """A config from the keys of `kind` and of Concept, as one mapping; flags: keys that override it.

    Raises BadInput for unknown keys, with the nearest right one, and for values of the wrong type or out of range.
    """
    flags = flags or {}
    values = {**values, **flags}
    check_keys(values, list(settings_of_run(kind)))
    if "token" not in values:
        raise BadInput(f"there is no token to learn: add {flag('token', '<my-cat>')}")
    with keys_of_a_file(values.keys() - flags.keys()):
        concept = Concept(**{name: values[name] for name in settings_of(Concept) if name in values})
        return kind(concept=concept, **{name: values[name] for name in settings_of(kind) if name in values})


def configs_from_mapping(values: Mapping[str, Any], flags: Mapping[str, Any] | None = None) -> list[TrainConfig]:
    """A config for each of the list `concepts`, which may have any key of its own; other keys hold for all.

    flags: keys that override both. Without `concepts`, there is the one config of `config_from_mapping`.
    """
    values = dict(values)
    listed = values.pop("concepts", None)
    if listed is None:
        return [config_from_mapping(values, flags)]
    if not isinstance(listed, (list, tuple)) or not listed:
        raise BadInput(f"concepts is {reprlib.repr(listed)}, which is not a list: write '- token: <my-cat>' beneath it")
    configs = []
    for number, own in enumerate(listed, 1):
        if not isinstance(own, Mapping):
            raise BadInput(f"{reprlib.repr(own)} in concepts is not a mapping: write '- token: <my-cat>'")
        try:
            configs.append(config_from_mapping({**values, **own}, flags))
        except BadInput as problem:
            raise BadInput(f"concept {number} of {len(listed)}: {problem}") from None
    return configs


def check_keys(values: Mapping[str, Any], known: list[str]) -> None:
    for key in values:
        if key not in known:
            with keys_of_a_file(known):
                hint = other_name(str(key), known) or "`ti-trainer train --help` lists them"
            raise BadInput(f"'{printable(str(key))}' is not a setting; {hint}")


def read_yaml(path: str) -> dict[str, Any]:
    """The mapping in a YAML file; raises BadInput when there is none."""
    name = flag("config", path)
    values = read_yaml_file(Path(resolve_config(path)), name)
    if not isinstance(values, dict):
        raise BadInput(f"{name} holds no settings: write lines such as 'steps: 400'")
    return values


def config_to_mapping(config: TrainConfig) -> dict[str, Any]:
    """The inverse of `config_from_mapping`; every setting but those that say how to start, as JSON and YAML have it."""
    names = [name for name, one in settings_of(type(config)).items() if not one.about.start]
    values = {name: getattr(config.concept, name) for name in settings_of(Concept)}
    values |= {name: getattr(config, name) for name in names}
    return {name: plain(value) for name, value in values.items()}


def plain(value: Any) -> Any:
    """The value of a setting as JSON and YAML have it; one of several that stands alone needs no list."""
    if not isinstance(value, tuple):
        return value
    return value[0] if len(value) == 1 else list(value)


def configs_to_yaml(configs: Sequence[TrainConfig]) -> str:
    """The inverse of `configs_from_mapping`: what all have in common stands at the top."""
    first, *others = mappings = [config_to_mapping(config) for config in configs]
    values = {key: value for key, value in first.items() if all(other[key] == value for other in others)}
    if others:
        values["concepts"] = [{k: v for k, v in mapping.items() if k not in values} for mapping in mappings]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
