"""When a run has learned what it can: its fixed-noise loss has stopped falling."""

from __future__ import annotations

import math
from dataclasses import dataclass

LEAST = 0.1  # of the whole fall of the loss, by which a measurement has to improve to count


@dataclass
class Progress:
    """How the fixed-noise loss has fallen, and at which step it last did so by a part worth going on for.

    At the loss L of a measurement, L0 of the first one and L* of the last that counted, it counts if

        L* - L >= LEAST (L0 - L) > 0

    Measured by its own fall, a concept of which little is to be learned ends as soon as one of which much is.
    """

    first: float = math.inf  # L0
    loss: float = math.inf  # L*
    step: int = 0  # of L*

    def begin(self, loss: float) -> None:
        """Take note of the loss at step 0."""
        self.first = loss
        self.loss = loss
        self.step = 0

    def measure(self, step: int, loss: float) -> None:
        """Take note of the loss after a later step."""
        if self.loss - loss >= LEAST * (self.first - loss) > 0:
            self.loss = loss
            self.step = step
