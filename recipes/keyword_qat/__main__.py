"""``python -m recipes.keyword_qat``: the whole pipeline, or a LightningCLI subcommand."""

import sys
from pathlib import Path

from export.pipeline import main

from .data import KeywordData
from .model import Keyword

if __name__ == "__main__":
    sys.exit(main(Keyword, KeywordData, Path(__file__).with_name("config.yaml")))
