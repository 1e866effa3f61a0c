"""``python -m recipes.fuel_qat``: the whole pipeline, or a LightningCLI subcommand."""

import sys
from pathlib import Path

from export.pipeline import main

from .data import FuelData
from .model import FuelConsumption

if __name__ == "__main__":
    sys.exit(main(FuelConsumption, FuelData, Path(__file__).with_name("config.yaml")))
