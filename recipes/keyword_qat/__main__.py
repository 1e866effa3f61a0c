"""``python -m recipes.keyword_qat``: the whole pipeline, or a LightningCLI subcommand."""

import sys
from pathlib import Path

from recipes.keyword_qat.data import KeywordData
from recipes.keyword_qat.model import Keyword
from recipes.pipeline import main

if __name__ == "__main__":
    sys.exit(main(Keyword, KeywordData, Path(__file__).with_name("config.yaml")))
