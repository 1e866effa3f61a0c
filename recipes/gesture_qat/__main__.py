"""``python -m recipes.gesture_qat``: the whole pipeline, or a LightningCLI subcommand."""

import sys
from pathlib import Path

from export.pipeline import main

from .data import GestureData
from .model import Gesture

if __name__ == "__main__":
    sys.exit(main(Gesture, GestureData, Path(__file__).with_name("config.yaml")))
