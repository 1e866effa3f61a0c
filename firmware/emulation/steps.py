"""Which step of a model's source each instruction of a program belongs to, by what a compiler says of its lines.

A step begins at a line with the comment ``/* step N */`` and reaches to the next one, to ``/* no step */``, or to the
end of its function. Comments and debugging information change no instruction, so what is counted by step adds up to the
program itself.
"""

from __future__ import annotations

import re

__all__ = ["has_steps", "step_lines"]

_STEP = re.compile(r"/\* (?:step (\d+)|no step) \*/")


def has_steps(text: str) -> bool:
    """Whether a source marks any."""
    return _STEP.search(text) is not None


def step_lines(text: str) -> dict[int, int]:
    """The step of each line, counted from 1.

    Example:
        >>> step_lines("void f(void) {\\n  /* step 3 */ g(1,\\n    2);\\n  /* step 5 */ h();\\n}\\nint i;")
        {2: 3, 3: 3, 4: 5}
    """
    found, step = {}, None
    for number, line in enumerate(text.splitlines(), 1):
        for mark in _STEP.finditer(line):
            step = int(mark[1]) if mark[1] else None
        step = None if line == "}" else step
        if step is not None:
            found[number] = step
    return found
