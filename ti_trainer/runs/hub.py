"""A finished run on the Hugging Face hub."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import cast

from ..errors import BadInput
from ..files.wording import flag, printable
from .finished import read_finished

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
REFUSALS = {
    401: "the token of the login is not known there; log in anew with 'hf auth login'",
    403: "the login may not write there; take a name of your own, or a token that may write",
    404: "the owner is not known there; take the name of your own account or organisation",
    409: "the name is taken; choose another one, or add to what is there with {update}",
}


def files_to_publish(folder: Path) -> dict[str, Path]:
    """What of a run's folder goes to the hub, by its name there; raises BadInput where no finished run lies.

    The card, the embedding in both formats, and the pictures of the card, which the saved rows have drawn. Nothing that
    shows what it has learned from, and nothing that names paths of this machine.
    """
    _, files = read_finished(folder)
    if not files.card.exists():
        raise BadInput(f"{printable(folder)} has no {files.card.name}; train it with {flag('plots', True)}")
    card = files.card.read_text(encoding="utf-8")
    shown = [path for _, path in files.of_steps() if path.relative_to(folder).as_posix() in card]
    diffusers = sorted(files.diffusers_embedding().parent.glob("*.safetensors"))
    found = [files.card, files.embedding, files.thumbnail, *diffusers, *shown]
    return {path.relative_to(folder).as_posix(): path for path in found if path.exists()}


def publish(folder: Path, name: str, public: bool = False, update: bool = False) -> str:
    """Put a finished run on the hub as the model `name`, OWNER/NAME, in one commit; returns its address.

    It is private unless `public`. One that is there already is only added to with `update`, and stays as private as it
    is. The login is that of `hf auth login`, or HF_TOKEN. Raises BadInput, in one line, for whatever goes wrong.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils.logging import set_verbosity_error

    if not NAME.fullmatch(name):
        raise BadInput(f"{flag('to')} is '{printable(name)}'; write OWNER/NAME, with letters, digits, '-', '_' and '.'")
    files = files_to_publish(folder)
    if get_token() is None:
        raise BadInput("there is no login for the hub: run 'hf auth login', or set HF_TOKEN")
    set_verbosity_error()  # it tells of each try
    # also of connections; the first is HTTPError, of httpx or httpx2
    failures = cast(tuple[type[Exception], ...], (HfHubHTTPError.__mro__[1], OSError))
    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        address = hub.create_repo(name, private=not public, exist_ok=update)
        operations = [CommitOperationAdd(inside, path) for inside, path in files.items()]
        hub.create_commit(name, operations, commit_message=f"Add {folder.resolve().name}")
    except failures as problem:
        status = problem.response.status_code if isinstance(problem, HfHubHTTPError) else 0
        reason = REFUSALS.get(status) or f"{printable(str(problem))}; the run is as it was: try it again later"
        raise BadInput(f"{name} cannot be published: {reason.format(update=flag('update', True))}") from None
    return str(address)
