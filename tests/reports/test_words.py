"""What `suggest` prints."""

from __future__ import annotations

import json
from dataclasses import replace

from ti_trainer.method.phrases import Phrase
from ti_trainer.method.suggest import Reading, Step
from ti_trainer.reports.words import words_as_json, words_text

CAT = Phrase(("cat",))
STEPS = [
    Step("word", (Reading(CAT, 0.08, 0.0, 0.0, 80), Reading(Phrase(("dog",)), 0.085, -0.005, 0.001, 20)), CAT, 900),
    Step("part", (Reading(Phrase(("cat",), ("blue",)), 0.07, 0.01, 0.002, 80),), Phrase(("cat",), ("blue",)), 1500),
]


def test_text() -> None:
    shown = words_text(STEPS, 5, 12.4).splitlines()
    assert [" ".join(line.split()) for line in shown] == [
        "one word loss falls by +- draws",
        "> cat 0.08000 +0.00000 0.00000 80",
        "dog 0.08500 -0.00500 0.00100 20",
        "what it has loss falls by +- draws",
        "> cat with a blue 0.07000 +0.01000 0.00200 80",
        "cat with a blue: from 5 pictures in 1500 passes and 12 s",
        "ti-trainer train --init 'cat with a blue'",
    ]
    assert len({line.rfind(" ") for line in shown[1:3]}) == 1  # columns are columns
    assert words_text(STEPS[:1], 5, 1.0).endswith("--init cat")
    snowy = replace(STEPS[0], phrase=replace(STEPS[0].phrase, scene="in the snow"))
    assert words_text([snowy], 5, 1.0).endswith("ti-trainer train --init cat --scene 'in the snow'")


def test_json() -> None:
    figures = json.loads(words_as_json(STEPS, 5, 12.4))
    assert (figures["phrase"], figures["words"], figures["part"]) == ("cat with a blue", ["cat"], ["blue"])
    assert figures["scene"] == ""
    assert (figures["passes"], figures["pictures"], figures["seconds"]) == (1500, 5, 12.4)
    dog = {"text": "dog", "loss": 0.085, "fall": -0.005, "error": 0.001, "draws": 20}
    assert figures["steps"][0]["ranking"][1] == dog
