"""``python -m recipes.anomaly_qat``: the whole pipeline, or a LightningCLI subcommand."""

import sys
from pathlib import Path

from export.pipeline import main

from .data import AnomalyData
from .model import Anomaly

if __name__ == "__main__":
    sys.exit(main(Anomaly, AnomalyData, Path(__file__).with_name("config.yaml")))
