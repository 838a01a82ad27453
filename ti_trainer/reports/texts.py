"""What a run prints at its end: where the embedding file belongs, and how it is used."""

from __future__ import annotations

from ..config.concept import Concept
from ..embedding_files.readers import where_it_goes
from ..families import Family
from ..runs.folder import RunFolder


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
    widths = {slot.name: slot.width for slot in family.slots}
    programs = where_it_goes(widths, family.spec.architecture, concept.stem, concept.negative)
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
    calls.append(
        f'pipeline(prompt="...", negative_prompt={unwanted})' if concept.negative else f"pipeline(prompt={prompt})"
    )
    return [*ways, ("diffusers", "\n".join(calls))]
