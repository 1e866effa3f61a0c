"""``python -m recipes.digits_qat``: the whole pipeline, or a LightningCLI subcommand."""

import sys
from pathlib import Path

from recipes.digits_qat.data import DigitsData
from recipes.digits_qat.model import Digits
from recipes.pipeline import main

if __name__ == "__main__":
    sys.exit(main(Digits, DigitsData, Path(__file__).with_name("config.yaml")))
