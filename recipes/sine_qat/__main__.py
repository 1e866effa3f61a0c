"""``python -m recipes.sine_qat``: the whole pipeline, or a LightningCLI subcommand."""

import sys
from pathlib import Path

from recipes.pipeline import main
from recipes.sine_qat.data import SineData
from recipes.sine_qat.model import Sine

if __name__ == "__main__":
    sys.exit(main(Sine, SineData, Path(__file__).with_name("config.yaml")))
