"""``python -m recipes.fuel_qat``: the whole pipeline, or a LightningCLI subcommand."""

import sys
from pathlib import Path

from recipes.fuel_qat.data import FuelData
from recipes.fuel_qat.model import FuelConsumption
from recipes.pipeline import main

if __name__ == "__main__":
    sys.exit(main(FuelConsumption, FuelData, Path(__file__).with_name("config.yaml")))
