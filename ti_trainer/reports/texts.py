"""What a run prints at its end: where the embedding file belongs, and how it is used."""

from __future__ import annotations

from ..config.concept import Concept
from ..embedding_files.embedding import families_of
from ..embedding_files.metadata import prompt_for
from ..families import Family
from ..runs.folder import RunFolder

# Where each program looks for embeddings, and what to write in which prompt; {stem}: the file's name without suffix.
WEBUIS = {
    "A1111, Forge": "copy it into embeddings/ and write {stem} in the {prompt}",
    "SD.Next": "copy it into models/embeddings/ and write {stem} in the {prompt}",
    "ComfyUI": "copy it into models/embeddings/ and write embedding:{stem} in the {prompt}",
    "InvokeAI": "import it in the model manager and write <{stem}> in the {prompt}",
}


def how_to_use(concept: Concept, folder: RunFolder, family: Family) -> list[str]:
    """Lines that say where a concept's file belongs, and the exact calls that load it into diffusers."""
    lines = []
    for program, advice in ways_to_use(concept, folder, family):
        first, *rest = advice.split("\n")
        lines += [f"  {program + ':':13} {first}", *(f"  {'':13} {line}" for line in rest)]
    return lines


def ways_to_use(concept: Concept, folder: RunFolder, family: Family) -> list[tuple[str, str]]:
    """The file's place, and for each program what to do with it; for diffusers, a call in each line."""
    path = folder.place(folder.files.embedding)
    names = {"stem": concept.stem, "prompt": prompt_for(concept.negative)}
    programs = [(program, advice.format(**names)) for program, advice in WEBUIS.items()]
    if not families_of({slot.name: slot.width for slot in family.slots}):
        programs = [("WebUIs", "cannot load it: no published model has words as wide as this one's")]
    ways = [("embedding", str(path)), *programs]
    calls = [f'pipeline.load_textual_inversion("{path}", token="{concept.trigger}")']
    prompt = f'"a photo of a {concept.trigger} on the beach"'
    unwanted = f'"{concept.trigger}"'
    slots = family.slots
    if not family.loads_embeddings:
        calls = [f'word = ti_trainer.load_into_pipeline(pipeline, "{path}")']
        prompt = 'f"a photo of a {word} on the beach"'
        unwanted = "word"
    elif len(slots) > 1:  # diffusers loads the vectors of one text encoder in each call
        files = [folder.place(folder.files.diffusers_embedding(slot.suffix)) for slot in slots]
        calls = [
            f'pipeline.load_textual_inversion("{file}", text_encoder=pipeline.text_encoder{slot.suffix}, '
            f"tokenizer=pipeline.tokenizer{slot.suffix})"
            for file, slot in zip(files, slots, strict=True)
        ]
        calls.append(f'or all at once: ti_trainer.load_into_pipeline(pipeline, "{path}"), which also mends the pooling')
    calls.append(f'pipeline("...", negative_prompt={unwanted})' if concept.negative else f"pipeline({prompt})")
    return [*ways, ("diffusers", "\n".join(calls))]
