"""A whole task from the command line: data, float training, QAT, export, parity, headers, report."""

from export.pipeline.run import main

__all__ = ["main"]
