"""What a file computes in fewer operators: the C, and the file that is written again, are of that."""

from __future__ import annotations
