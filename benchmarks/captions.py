"""How often `ti-trainer caption` finds the scene of a picture of the bundled world.

    python benchmarks/captions.py [--clip tiny-clip] [--phrases FILE] [--others 0]

Twelve creatures, one of each object, drawn by a seed, each in all six scenes. Right are the phrases with which the
world's captions name the scene, and before a wall also "in front of a wall". In a second round the phrases that are
right for a picture are left out: then right is to say none.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from suggest import draw_others  # noqa: E402

from sample_data.world.attributes import COLOURS, SCENES, Description, draw_description  # noqa: E402
from sample_data.world.captions import SCENE_WORDS, scene_words  # noqa: E402
from sample_data.world.drawing import draw  # noqa: E402
from ti_trainer import Concept, TrainConfig  # noqa: E402
from ti_trainer.config.bundled import TINY_SD  # noqa: E402
from ti_trainer.data.sidecars import find_sidecars  # noqa: E402
from ti_trainer.method.scenes import SCENES as PHRASES  # noqa: E402
from ti_trainer.method.scenes import known_phrases  # noqa: E402
from ti_trainer.training.captioning import by_clip, by_loss, examples_of  # noqa: E402
from ti_trainer.training.suggestion import read_words  # noqa: E402


def write_pictures(seed: int, folder: Path) -> list[Description]:
    """A picture of each creature in each scene; returns what they show, in the order of their names."""
    shown = []
    for thing, (_, colour, pattern, accent) in draw_others(seed).items():
        for scene in SCENES:
            rng = random.Random(f"{seed} {thing} {scene}")
            wall = rng.choice([each for each in COLOURS if each not in (colour, accent)])
            seen = replace(draw_description(rng), object=thing, colour=colour, pattern=pattern, accent=accent)
            shown.append(replace(seen, scene=scene, backdrop=wall))
            draw(shown[-1], rng).save(folder / f"{len(shown):03}.png")
    return shown


def is_right(phrase: str, seen: Description) -> bool:
    if seen.scene == "plain":
        return phrase in (scene_words(seen), "in front of a wall")
    return phrase in SCENE_WORDS[seen.scene]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", help="a CLIP that chooses; by default the model's loss does")
    parser.add_argument("--phrases", help="a file of them; by default ours that the model knows")
    parser.add_argument("--others", type=int, default=0, help="the seed of the creatures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        shown = write_pictures(options.others, Path(scratch))
        config = TrainConfig(Concept("<my-creature>", images=scratch), model=TINY_SD)
        examples = examples_of(find_sidecars((scratch,), config.concept).missing, config, print)
        vocabulary, choose = by_clip(config, options.clip) if options.clip else by_loss(config)
        phrases = read_words(options.phrases) if options.phrases else known_phrases(vocabulary, PHRASES)
        found: Counter[str] = Counter()
        silent: Counter[str] = Counter()
        for seen, example in zip(shown, examples.values(), strict=True):
            for listed in (phrases, [phrase for phrase in phrases if not is_right(phrase, seen)]):
                best = choose(example, [seen.object, *(f"{seen.object} {phrase}" for phrase in listed)])
                said = listed[best - 1] if best else ""
                is_good = is_right(said, seen) if listed is phrases else not said
                (found if listed is phrases else silent)[seen.scene] += is_good
                if not is_good:
                    where = f"{seen.scene} {seen.backdrop}" if seen.scene == "plain" else seen.scene
                    print(f"{seen.object}, {where}: {said or 'none'}{'' if listed is phrases else ' (none is right)'}")
    print(f"{len(phrases)} phrases; of {len(shown) // len(SCENES)} pictures of each scene, and of all:")
    print(f"| | {' | '.join(SCENES)} | of {len(shown)} |\n|---|{'---|' * (len(SCENES) + 1)}")
    for name, counts in (("the right phrase", found), ("none, where none is right", silent)):
        print(f"| {name} | {' | '.join(str(counts[scene]) for scene in SCENES)} | **{counts.total()}** |")


if __name__ == "__main__":
    main()
