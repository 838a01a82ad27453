# The public names: `__init__.py` reads them here when the package is imported, type checkers and editors at all times.

from .config.concept import Concept as Concept
from .config.config import TrainConfig as TrainConfig
from .config.model import ModelConfig as ModelConfig
from .errors import BadInput as BadInput
from .errors import Diverged as Diverged
from .errors import Incomplete as Incomplete
from .errors import Interrupted as Interrupted
from .families import load_into_pipeline as load_into_pipeline
from .training.events import Run as Run
from .training.jobs import train as train
from .training.jobs import train_all as train_all
from .training.live_display import LiveDisplay as LiveDisplay

__version__: str
