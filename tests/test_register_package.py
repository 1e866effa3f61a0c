"""A user's package with entry points, as an installer leaves it: known in fresh processes, missed without it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from qtorch.discovery import Registry
from qtorch.errors import BadCheckpoint, BadConfiguration
from qtorch.lightning.checkpoint import load_run
from qtorch.ops import ROWS
from qtorch.row.registration import require_registrable
from qtorch.row.row import Row
from tests.own_packages import installed
from tests.test_register import ABS
from tests.warm_python import warm_python

ROOT = Path(__file__).parents[1]

PROJECT = """[project]
name = "my-operators"
version = "0.1"

[project.entry-points."qtorch.rows"]
abs = "my_operators.abs"
"""

#: Knows the row by its call alone, as a network does.
NETWORK = """
import torch
from torch import nn

from tests.small_task import SmallData, SmallModule


class Rectifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(16, 6), nn.Linear(6, 1)

    def forward(self, x):
        return self.last(self.first(x.flatten(1)).abs())


class Rectifying(SmallModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = Rectifier()
"""

#: The package is not imported by name; it imports ``qtorch`` before it has a row.
TRAINS = """
import my_operators.abs
import qtorch
from my_operators.network import Rectifying
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.ops import ROWS
from tests.small_task import SmallData, small_trainer

assert ROWS["abs"] is my_operators.abs.ROW
module, qat = Rectifying(), QuantizationAwareTraining()
trainer = small_trainer(qat, max_epochs=1)
trainer.fit(module, SmallData())
trainer.save_checkpoint("trained.ckpt")
"""

OPENS = """
import sys
from pathlib import Path

from export.c.model import c_model
from export.graph.build import integer_graph
from qtorch.lightning.checkpoint import load_run

assert "my_operators.abs" not in sys.modules
graph = integer_graph(load_run(Path("trained.ckpt")).module.net)
print(*(node.op for node in graph.nodes), *c_model("mine", graph).files)
"""


def run(folder: Path, program: str) -> str:
    """What a program prints, in a process that has no row but those of what is installed in ``folder``."""
    done = warm_python(["-c", f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]\n{program}"], folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def package(folder: Path) -> Path:
    """The sources of the package."""
    source = folder / "sources"
    (source / "my_operators").mkdir(parents=True)
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "my_operators" / "__init__.py").write_text("")
    (source / "my_operators" / "abs.py").write_text(f"{ABS}\nimport qtorch\n\nqtorch.register(ROW)\n")
    (source / "my_operators" / "network.py").write_text(NETWORK)
    return source


@pytest.mark.tflm
def test_a_checkpoint_is_opened_where_the_package_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, site = package(tmp_path), tmp_path / "site"
    site.mkdir()
    installed(source, site)
    run(site, TRAINS)
    assert run(site, OPENS).endswith("fully_connected abs fully_connected mine_model.h mine_model.c\n")
    # And where it can be imported, and is not installed:
    monkeypatch.syspath_prepend(str(source))
    with pytest.raises(BadCheckpoint, match=r"row 'abs' of my_operators\.abs.*Remedy: .*`import my_operators\.abs`"):
        load_run(site / "trained.ckpt")
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_operators"]:
        del sys.modules[name]
    assert "abs" not in ROWS


def registry() -> Registry[Row]:
    return Registry({}, "here", kind=Row, group="qtorch.rows", cell="ROW", require=require_registrable)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise RuntimeError('broken')", "RuntimeError: broken"),
        ("ROW = 1", "expected a Row, or a module whose ROW is one, got 1"),
        (ABS.replace('name="abs"', 'name="Abs"'), "row 'Abs', name: expected small letters"),
    ],
    ids=["not imported", "no row", "not registered"],
)
def test_a_broken_distribution_is_left_out_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    source, site = package(tmp_path), tmp_path / "site"
    site.mkdir()
    (source / "my_operators" / "abs.py").write_text(text)
    installed(source, site)
    monkeypatch.syspath_prepend(str(site))
    rows = registry()
    with pytest.warns(match=r"my-operators, entry point 'abs' = 'my_operators\.abs' of qtorch\.rows, left out") as said:
        assert dict(rows) == {}
    assert words in str(said[0].message)
    assert len(said) == 1
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_operators"]:
        del sys.modules[name]


def test_entry_points_are_read_when_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, site = package(tmp_path), tmp_path / "site"
    site.mkdir()
    (source / "my_operators" / "abs.py").write_text(ABS)
    installed(source, site)
    monkeypatch.syspath_prepend(str(site))
    rows = registry()
    assert "my_operators.abs" not in sys.modules
    assert list(rows) == ["abs"]
    assert rows.added() == {"abs": "my_operators.abs"}
    other = sys.modules.pop("my_operators.abs").ROW
    rows.add(other, "anywhere")
    with pytest.raises(BadConfiguration):
        rows.add(registry()["abs"], "another.package")
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_operators"]:
        del sys.modules[name]
