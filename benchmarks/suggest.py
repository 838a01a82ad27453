"""How often `ti-trainer suggest` finds the words of creatures of the bundled world.

    python benchmarks/suggest.py [--passes 8000] [--others 0] [--only my-cat ...]

The nine held-out creatures, on which the search's settings were chosen, and twelve others, one of each object, drawn by
a seed: each has a pattern, a colour and a part of another colour, and five pictures like those of the held-out ones.
Counted are the object as the first single word, the object as the phrase's last word, and the whole phrase: pattern and
colour in either order, then the object, and no other word.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sample_data.world.attributes import (  # noqa: E402
    ACCENT_PART,
    COLOURS,
    HELD_OUT,
    OBJECTS,
    PATTERNS,
    draw_description,
)
from sample_data.world.drawing import draw  # noqa: E402
from sample_data.world.references import VIEWS, write_references  # noqa: E402
from ti_trainer import Concept, TrainConfig  # noqa: E402
from ti_trainer.config.bundled import TINY_SD  # noqa: E402
from ti_trainer.training.suggestion import Suggestion, suggest  # noqa: E402

Identity = tuple[str, str, str, str]  # object, colour, pattern, colour of the part


def draw_others(seed: int) -> dict[str, Identity]:
    """A creature of each object that is not held out: "cat" -> its identity."""
    others: dict[str, Identity] = {}
    for thing in OBJECTS:
        rng = random.Random(f"{seed} {thing}")
        while thing not in others:
            colour, accent = rng.sample(list(COLOURS), 2)
            identity = (thing, colour, rng.choice(PATTERNS[1:]), accent)
            if identity not in HELD_OUT.values():
                others[thing] = identity
    return others


def write_pictures(
    identity: Identity, seed: int, folder: Path, count: int = len(VIEWS), scene: str | None = None
) -> None:
    """Pictures of a creature, in the views of the held-out ones or all in one scene."""
    folder.mkdir(parents=True)
    thing, colour, pattern, accent = identity
    for number, (own, size, place) in enumerate(VIEWS[:count], start=1):
        rng = random.Random(f"{seed} {identity} {number}")
        walls = [each for each in COLOURS if each not in (colour, accent)]
        shown = replace(
            draw_description(rng),
            object=thing,
            colour=colour,
            pattern=pattern,
            accent=accent,
            size=size,
            place=place,
            scene=scene or own,
            backdrop=rng.choice(walls),
        )
        draw(shown, rng).save(folder / f"{number}.png")


def verdict(identity: Identity, found: Suggestion) -> dict[str, bool]:
    """What of an identity was found."""
    thing, colour, pattern, accent = identity
    words = found.phrase.words
    return {
        "first": found.steps[0].phrase.words == (thing,),
        "object": words[-1] == thing,
        "phrase": words[-1] == thing and sorted(words) == sorted((thing, colour, pattern)),
        "part": accent in found.phrase.part and set(found.phrase.part) <= {accent, ACCENT_PART[thing]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passes", type=int, default=8000)
    parser.add_argument("--others", type=int, default=0, help="the seed of the twelve others")
    parser.add_argument("--only", nargs="*", help="some of the creatures: my-cat, cat, ...")
    parser.add_argument("--seed", type=int, default=0, help="of the search's noise")
    options = parser.parse_args()
    others = draw_others(options.others)
    print("| creature | found | first word | object | phrase | part | passes | s |\n|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for group in (HELD_OUT, others):
            verdicts = []
            costs = []
            for name, identity in group.items():
                if options.only and name not in options.only:
                    continue
                folder = Path(scratch) / name
                if group is HELD_OUT:
                    write_references(name, folder.parent)
                else:
                    write_pictures(identity, options.others, folder)
                found = suggest(
                    TrainConfig(Concept("<words>", images=str(folder)), model=TINY_SD, seed=options.seed),
                    None,
                    options.passes,
                )
                verdicts.append(verdict(identity, found))
                costs.append((found.passes, found.seconds))
                thing, colour, pattern, accent = identity
                marks = " | ".join("yes" if each else "no" for each in verdicts[-1].values())
                print(
                    f"| {pattern} {colour} {thing}, {accent} {ACCENT_PART[thing]} | {found.phrase.text} | {marks} | "
                    f"{found.passes} | {found.seconds:.0f} |",
                    flush=True,
                )
            if verdicts:
                counts = " | ".join(f"{sum(each[key] for each in verdicts)}" for key in verdicts[0])
                passes, seconds = (sum(values) / len(values) for values in zip(*costs, strict=True))
                print(f"| **of {len(verdicts)}** | | {counts} | {passes:.0f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
