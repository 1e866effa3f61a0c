"""``python -m recipes.anomaly_qat``: the whole pipeline, or a LightningCLI subcommand."""

import sys
from pathlib import Path

from recipes.anomaly_qat.data import AnomalyData
from recipes.anomaly_qat.model import Anomaly
from recipes.pipeline import main

if __name__ == "__main__":
    sys.exit(main(Anomaly, AnomalyData, Path(__file__).with_name("config.yaml")))
