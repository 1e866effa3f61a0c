"""``python -m recipes.sine_qat``: the whole pipeline, or a LightningCLI subcommand."""

import sys
from pathlib import Path

from export.pipeline import main

from .data import SineData
from .model import Sine

if __name__ == "__main__":
    sys.exit(main(Sine, SineData, Path(__file__).with_name("config.yaml")))
