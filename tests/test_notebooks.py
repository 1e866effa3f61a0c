"""The notebooks run from top to bottom, and each result in them is what the text around it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from docs.site.notebooks import executed, page_of_notebook
from firmware.emulation import sketch_available
from tests.test_docs import DOCS

NOTEBOOKS = sorted(DOCS.glob("*.ipynb"))


def printed(content: Any) -> str:
    return "".join(o.text for cell in content.cells for o in cell.get("outputs", ()) if o.get("name") == "stdout")


def shown(content: Any) -> list[str]:
    outputs = [o for cell in content.cells for o in cell.get("outputs", ()) if o.output_type == "execute_result"]
    return [output.data["text/html"] for output in outputs]


def run(name: str, folder: Path) -> Any:
    pytest.importorskip("nbclient", reason="make docs installs it")
    pytest.importorskip("ipykernel", reason="make docs installs it")
    return executed(DOCS / name, folder)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.name)
def test_it_is_kept_without_outputs(notebook: Path) -> None:
    cells = json.loads(notebook.read_text())["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)


@pytest.mark.tflm
@pytest.mark.filterwarnings("default")
def test_a_first_network(tmp_path: Path) -> None:
    content = run("first_network.ipynb", tmp_path)
    text = printed(content)
    accuracies = [float(found) for found in re.findall(r"^in .*: (0\.\d+|1\.0+)$", text, re.MULTILINE)]
    assert len(accuracies) == 2
    assert min(accuracies) > 0.95
    for judge in ("tflm", "compiled_c", "qat_network"):
        assert re.search(rf"^{judge} +\d+ +100\.00% +0  must agree$", text, re.MULTILINE)
    assert "report of thermostat" in shown(content)[0]
    if sketch_available() is None:
        assert text.splitlines()[-1] == "32 of 32 vectors agree"
    page, html = page_of_notebook(content)
    assert [page.count(word) for word in html] == [1]
    assert (tmp_path / "build" / "thermostat" / "project" / "library.properties").is_file()


@pytest.mark.tflm
@pytest.mark.filterwarnings("default")
def test_without_training(tmp_path: Path) -> None:
    content = run("without_training.ipynb", tmp_path)
    text = printed(content)
    ((floats, integers),) = re.findall(r"in floats ([\d.]+), in the device's integers ([\d.]+)", text)
    assert float(floats) > 0.95
    assert float(integers) > float(floats) - 0.02
    (judges,) = re.findall(r"outputs that differ: \{(.*)\}", text)
    assert "'tflm': 0" in judges
    assert not re.search(r": [1-9]", judges)
    assert "report of waves" in shown(content)[0]
    assert [*tmp_path.iterdir()] == []
