"""A worker's end of the conversation: JSON lines in, JSON lines out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["serve"]


def serve(**functions: Callable[..., Any]) -> None:
    """Answer requests until standard input ends; what a function raises is an answer too."""
    # Libraries print; that must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": functions[request.pop("call")](**request)}
        except Exception as error:
            said = str(error).strip().splitlines() or ["no message"]
            answer = {"error": f"{type(error).__name__}: {said[0]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
