"""How far long work is: whoever does it says so, and one place decides who shows it, where and when.

:mod:`qtorch.progress.stages` is what work says; :mod:`qtorch.progress.display` paints it, once it has lasted a moment;
:mod:`qtorch.progress.surfaces` are a terminal's bars, a notebook's, and lines where nothing can move.
"""

from qtorch.progress.stages import Stage, hidden, in_lines, numbered, quiet, stage, steps

__all__ = ["Stage", "hidden", "in_lines", "numbered", "quiet", "stage", "steps"]
