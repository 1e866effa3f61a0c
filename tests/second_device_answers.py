"""Every question of :mod:`tests.device_cases`, asked of the second device; answers go to the file named.

A process of its own, because PyTorch asks only once which devices there are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.device_cases import NETWORKS, QUESTIONS, a_step_waits_for_nothing
from tests.second_device import SecondDevice, register

#: By the question: whom it is asked of.
ASKED = {
    **{question: names for question, (_, names) in QUESTIONS.items()},
    a_step_waits_for_nothing.__name__: tuple(NETWORKS),
}


def answers() -> dict[str, list[str]]:
    """By ``question-name``: what is wrong."""
    return {f"{question}-{name}": _answer(question, name) for question, names in ASKED.items() for name in names}


def _answer(question: str, name: str) -> list[str]:
    with SecondDevice() as second:
        try:
            if question in QUESTIONS:
                return QUESTIONS[question][0](name, second.device)
            return a_step_waits_for_nothing(name, second.device, second.waits)
        # Whatever a device refuses is the answer.
        except Exception as error:
            return [f"{type(error).__name__}: {error}"]


if __name__ == "__main__":
    register()
    Path(sys.argv[1]).write_text(json.dumps(answers()))
