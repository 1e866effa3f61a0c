"""What the libraries say of themselves: advertisements never, what they found of this machine once."""

from __future__ import annotations

import io
import logging
import sys
import warnings

__all__ = ["print_whatever", "quiet_notices", "tensorboard_absent"]

_LOGGERS = ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.rank_zero")
_ADVERTISED = ("litlogger", "litmodels")
_DEVICES = "PU available"


class _Once(logging.Filter):
    """Lets a line about devices through once, and only if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if any(word in message for word in _ADVERTISED):
            return False
        if _DEVICES not in message:
            return True
        new = message not in self.said and "available: False" not in message
        self.said.add(message)
        return new


_ONCE = _Once()


def quiet_notices() -> None:
    """From now on they are told no more than once; warnings about data and training stay."""
    for name in _LOGGERS:
        # The same filter is added once.
        logging.getLogger(name).addFilter(_ONCE)
    for message in (
        # Of PyTorch, about PyTorch Lightning.
        ".*LeafSpec.*",
        # Networks this small are not held up by their loaders.
        ".*does not have many workers.*",
        # Said in a sentence of one's own.
        ".*`tensorboardX` has been removed as a dependency.*",
    ):
        warnings.filterwarnings("ignore", message=message)


def print_whatever() -> None:
    """From now on what the encoding of stdout and stderr lacks is printed by its code: no bar of a progress, no name of
    a file ends a command."""
    for stream in (sys.stdout, sys.stderr):
        # In its place may be anything that writes, or nothing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def tensorboard_absent() -> bool:
    """Whether a run that asks for the default log gets CSV files, because TensorBoard is not installed."""
    # Only a command that trains gets here; the others do without Lightning.
    from pytorch_lightning.trainer.connectors.logger_connector import logger_connector

    importable = (
        getattr(logger_connector, name, True) for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE")
    )
    return not any(importable)
