"""``python -m qtorch``: the console script ``qtorch``, which is :mod:`export.command_line`."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # That of this project, whatever stands in the working folder under its name.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from export.command_line import main

    del sys.path[0]
    sys.exit(main(program="python -m qtorch"))
