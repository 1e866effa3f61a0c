"""What others measured on silicon: milliseconds that MLPerf Tiny and vendors published, as cycles per product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.files.span import span
from benchmarks.suite import markdown_table

__all__ = ["PUBLISHED", "Published", "published_lines"]


@dataclass(frozen=True)
class Published:
    """One system's figures.

    Attributes:
        who: the software.
        where: the board's processor and its clock.
        machine: key of :data:`firmware.emulation.MACHINES` that has the same core; empty where none has.
        mhz: the clock.
        milliseconds: of an inference, by the word that the reference file's name has.
        products: by the same word, where it is another network than the reference's.
        what: of another network, which.
    """

    who: str
    where: str
    machine: str
    mhz: int
    milliseconds: Mapping[str, float]
    products: Mapping[str, int] | None = None
    what: str = ""

    def cycles_per_product(self, network: str, products: int) -> float:
        """Of one of its networks.

        Args:
            network: a key of ``milliseconds``.
            products: of the reference file.

        Example:
            >>> Published("a", "b", "c", 100, {"net": 2.0}).cycles_per_product("net", 100_000)
            2.0
        """
        return self.milliseconds[network] * 1000 * self.mhz / (self.products or {}).get(network, products)


def _four(ds_cnn: float, mobile_net: float, res_net: float, autoencoder: float) -> dict[str, float]:
    return {"DS-CNN": ds_cnn, "MobileNetV1": mobile_net, "ResNet-8": res_net, "autoencoder": autoencoder}


_L4R5, _PERSON = "STM32L4R5, Cortex-M4", {"MobileNetV1": 7_160_000}

#: MLPerf Tiny 1.0 to 1.3, closed division, and ESP-NN's README: with the waits of the boards' own flash.
PUBLISHED = (
    Published("ST X-CUBE-AI 9.0", _L4R5, "cortex_m4", 120, _four(43.2, 88.9, 165.1, 5.26)),
    Published("Plumerai 2023.05", _L4R5, "cortex_m4", 120, _four(47.8, 98.8, 167.8, 4.05)),
    Published("Bosch HALE", _L4R5, "cortex_m4", 120, _four(60.2, 180.5, 180.5, 5.84)),
    Published("microTVM with CMSIS-NN", _L4R5, "cortex_m4", 120, _four(99.8, 301.0, 390.0, 8.6)),
    Published("ST X-CUBE-AI 10.2", "STM32U575, Cortex-M33", "cortex_m33", 160, _four(29.0, 59.3, 109.5, 3.21)),
    Published("ST X-CUBE-AI 9.0", "STM32H7A3, Cortex-M7", "cortex_m7", 280, _four(11.3, 23.8, 40.8, 1.23)),
    Published("Renesas", "RA8D1, Cortex-M85", "", 480, _four(3.46, 13.4, 8.48, 0.53)),
    Published("Bosch HALE", "STM32G0B1, Cortex-M0+", "cortex_m0", 64, _four(474.6, 1414.0, 1522.0, 40.9)),
    Published(
        "ESP-NN", "ESP32-C3, RV32IMC", "riscv32", 160, {"MobileNetV1": 426.0}, _PERSON, "person detection"
    ),
    Published("ESP-NN", "ESP32-S3", "", 240, {"MobileNetV1": 47.0}, _PERSON, "person detection"),
)  # fmt: skip


def published_lines(files: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each system: its cycles per product, and those of plain C on the same core.

    Args:
        files: what was measured of the reference files.
    """
    yield (
        "Cycles per product that others measured on silicon, with the waits of its flash / those of plain C above, "
        "without waits:"
    )
    yield ""
    networks = {word: each for word in PUBLISHED[0].milliseconds for each in files if word in each["file"]}
    rows = []
    for one in PUBLISHED:
        cells = []
        for word, each in networks.items():
            if word not in one.milliseconds:
                cells.append("")
                continue
            theirs, ours = one.cycles_per_product(word, each["products"]), _ours(each, one.machine)
            what = f" ({one.what})" if one.what else ""
            cells.append(f"{theirs:.2f}{what}" + (f" / {ours}" if ours else ""))
        rows.append([one.who, f"{one.where} at {one.mhz} MHz", *cells])
    yield from markdown_table(["software", "on", *networks], rows)


def _ours(found: Mapping[str, Any], machine: str) -> str:
    """Of every build that has cycles, from the least to the most."""
    builds = found.get("machines", {}).get(machine, {})
    counted = {name: each.get("cycles") for name, each in builds.items() if isinstance(each, Mapping)}
    return ", ".join(f"{name} {span(cycles, found['products'])}" for name, cycles in counted.items() if cycles)
