"""The one command line: ``qtorch COMMAND ...``, its table of commands, and how each is called.

Before a command is called nothing is imported that takes time: ``qtorch --help`` is there at once.
"""

from export.command_line.dispatch import main

__all__ = ["main"]
