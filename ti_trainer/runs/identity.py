"""Which run something belongs to: the settings that decide what its steps are."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..config.config import TrainConfig
from ..config.settings import config_to_mapping, marked


def lasting_settings(config: TrainConfig) -> dict[str, Any]:
    """The settings that a resumed run may not change, because its finished steps were taken with them."""
    free = marked("free_on_resume", type(config))
    return {name: value for name, value in config_to_mapping(config).items() if name not in free}


def identity(config: TrainConfig) -> str:
    """The SHA-256 of those settings, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(lasting_settings(config), sort_keys=True).encode()).hexdigest()
