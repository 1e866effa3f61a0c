"""How a command ends: its exit code, and what it says on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable

from qtorch.errors import ParityError
from qtorch.lightning.command_line.notices import print_whatever, quiet_notices
from qtorch.lightning.command_line.refusals import end_broken_pipe, refusal_of

__all__ = ["run_command"]


def run_command(command: Callable[[], None], otherwise: str = "no export") -> int:
    """Exit code of a command: 0, 2 for bad input, 1 for failed parity; both say why on stderr, without a traceback.

    Args:
        command: without its arguments.
        otherwise: what failed parity means, before its reason.

    Where the reader of stdout has gone it ends silently, with 141. A defect keeps its traceback.
    """
    quiet_notices()
    print_whatever()
    try:
        command()
        sys.stdout.flush()
    except BrokenPipeError as error:
        return end_broken_pipe(error)
    except ParityError as error:
        print(f"{otherwise}: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        refused = refusal_of(error)
        if refused is None:
            raise
        print(f"error: {refused}", file=sys.stderr)
        return 2
    return 0
