"""``python -m recipes.digits_qat``: the whole pipeline, or a LightningCLI subcommand."""

import sys
from pathlib import Path

from export.pipeline import main

from .data import DigitsData
from .model import Digits

if __name__ == "__main__":
    sys.exit(main(Digits, DigitsData, Path(__file__).with_name("config.yaml")))
