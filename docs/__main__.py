"""``python -m docs`` makes what is generated in ``docs`` anew: operators, kernels, faults, editions, rooms, boards."""

from __future__ import annotations

from pathlib import Path

from docs.rooms import PAGE as HOUSE
from docs.rooms import with_tables

__all__ = ["KERNEL_FAULTS", "OPERATORS", "with_generated_table"]

OPERATORS = Path(__file__).with_name("operators.md")
KERNEL_FAULTS = Path(__file__).with_name("kernel_faults.md")


def with_generated_table(page: str, table: str) -> str:
    """The page with one of its tables, the one with the same head, replaced."""
    lines, head = page.split("\n"), table.split("\n")[0]
    start = lines.index(head)
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("|"))
    return "\n".join([*lines[:start], table, *lines[end:]])


if __name__ == "__main__":
    from docs.boards import PAGES, with_board_tables
    from docs.editions import PAGE as EDITIONS
    from docs.editions import editions_table
    from docs.kernel_tables import PAGE as KERNELS
    from docs.kernel_tables import with_kernels
    from docs.row_rules import PAGE as DEVICES
    from docs.row_rules import with_row_rules
    from export.commands.support import support_table
    from export.faults.cmsis_nn import FAULTS as CMSIS_NN
    from export.faults.esp_nn import FAULTS as ESP_NN
    from export.faults.table import fault_table

    faults = fault_table((*CMSIS_NN, *ESP_NN))
    for page, table in ((OPERATORS, support_table()), (KERNEL_FAULTS, faults), (EDITIONS, editions_table())):
        page.write_text(with_generated_table(page.read_text(encoding="utf-8"), table), encoding="utf-8")
    HOUSE.write_text(with_tables(HOUSE.read_text(encoding="utf-8")), encoding="utf-8")
    for page in PAGES:
        page.write_text(with_board_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
    KERNELS.write_text(with_kernels(KERNELS.read_text(encoding="utf-8")), encoding="utf-8")
    DEVICES.write_text(with_row_rules(DEVICES.read_text(encoding="utf-8")), encoding="utf-8")
