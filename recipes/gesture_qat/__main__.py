"""``python -m recipes.gesture_qat``: the whole pipeline, or a LightningCLI subcommand."""

import sys
from pathlib import Path

from recipes.gesture_qat.data import GestureData
from recipes.gesture_qat.model import Gesture
from recipes.pipeline import main

if __name__ == "__main__":
    sys.exit(main(Gesture, GestureData, Path(__file__).with_name("config.yaml")))
