"""Textual Inversion: teach a frozen Stable Diffusion model a new word.

    from ti_trainer import Concept, TrainConfig, load_into_pipeline, train

The names are in `__init__.pyi`. Each is loaded when it is first used, so that importing the package costs nothing.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
