"""Which programs read an embedding file of ours, and what to do with it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .embedding import families_of
from .metadata import prompt_for

U_NETS = frozenset({"SD 1.x", "SD 2.x", "SDXL"})
FLOWS = frozenset({"SD 3", "Flux", "Chroma", "Anima", "Flux.2 Klein 4B", "Flux.2 Klein 9B"})


@dataclass(frozen=True)
class Reader:
    """A row of READERS."""

    families: frozenset[str]  # names of MODEL_FAMILIES
    advice: str  # with {stem}, and {prompt}, which may be the negative one


# Older versions of ComfyUI want a space behind the name where a chat is put around the prompt: it never harms.
READERS: dict[str, Reader] = {
    "A1111": Reader(U_NETS | {"SD 3"}, "copy it into embeddings/ and write {stem} in the {prompt}"),
    "Forge": Reader(U_NETS, "copy it into embeddings/ and write {stem} in the {prompt}"),
    "SD.Next": Reader(U_NETS, "copy it into models/embeddings/ and write {stem} in the {prompt}"),
    "ComfyUI": Reader(
        U_NETS | FLOWS, "copy it into models/embeddings/ and write embedding:{stem} in the {prompt}, a space behind it"
    ),
    "InvokeAI": Reader(U_NETS, "import it in the model manager and write <{stem}> in the {prompt}"),
}


def where_it_goes(
    widths: Mapping[str, int], architecture: str, stem: str, negative: bool = False
) -> list[tuple[str, str]]:
    """For each program that reads such a file what to do with it; "A1111, Forge" where it is the same in both.

    widths: of the rows, by slot; architecture: a name of ModelSpec; stem: of the file.
    """
    families = families_of(widths, architecture)
    if not families:
        return [("WebUIs", "cannot load it: no published model has words as wide as this one's")]
    prompt = prompt_for(negative)
    programs: dict[str, list[str]] = {}
    for program, reader in READERS.items():
        if reader.families & set(families):
            programs.setdefault(reader.advice.format(stem=stem, prompt=prompt), []).append(program)
    return [(", ".join(names), advice) for advice, names in programs.items()]
