"""The clocks of generated programs: what a counter of 32 bits says is carried on beyond its turn."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from firmware.emulation.build import TARGETS

_BOARDS = TARGETS.parent / "tflm" / "boards"
_APP = """\
#pragma once
#include <stdint.h>
namespace app {
enum Outcome { ok };
inline Outcome boot() { return ok; }
inline bool answer() { return false; }
}
"""
#: Headers of each board's platform, in which ``passed`` are the ticks so far.
_PLATFORMS = {
    "arduino": {
        "Arduino.h": """
inline unsigned long millis() { return 0; }
inline void delay(unsigned long) {}
inline unsigned long micros() { return static_cast<uint32_t>(passed); }
struct Console {
  void begin(long) {}
  explicit operator bool() const { return true; }
  void print(const char*) {}
  int available() { return 1; }
  int read() { return -1; }
};
static Console Serial;
"""
    },
    "esp_idf": {
        "esp_timer.h": "inline int64_t esp_timer_get_time() { return static_cast<int64_t>(passed); }\n",
        "freertos/FreeRTOS.h": "",
        "freertos/task.h": "inline void vTaskDelay(int) {}\n",
    },
    "zephyr": {
        "zephyr/console/console.h": "inline void console_init() {}\ninline int console_getchar() { return -1; }\n",
        "zephyr/kernel.h": """
inline uint32_t k_cycle_get_32() { return static_cast<uint32_t>(passed); }
inline int64_t k_uptime_get() { return static_cast<int64_t>(passed / 1000000u); }
inline int sys_clock_hw_cycles_per_sec() { return 1000000000; }
""",
        "zephyr/sys/printk.h": "inline void printk(const char*, const char*) {}\n",
    },
}
#: Ticks that pass between two looks at the clock: 5 seconds of nanoseconds, which are 0.705 to 32 bits, and others.
_STEPS = (0, 5_000_000_000, 7, 4_294_967_296, 4_294_967_295, 60_000_000_000)


@pytest.mark.parametrize("board", _PLATFORMS)
def test_what_passes_is_what_the_clock_says(board: str, tmp_path: Path) -> None:
    # A counter that nothing stands beside is told of each of its turns by being looked at.
    steps = _STEPS if board != "arduino" else (0, 3_000_000_000, 3_000_000_000, 4_294_967_295)
    for file, text in _PLATFORMS[board].items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(f'#pragma once\n#include "passed.h"\n{text}')
    (tmp_path / "passed.h").write_text("#pragma once\n#include <stdint.h>\nstatic uint64_t passed = 1000;\n")
    (tmp_path / "tflm_app.h").write_text(_APP)
    looks = "".join(
        f'  passed += {step}u;\n  printf("%llu\\n", static_cast<unsigned long long>(board::ticks() - begun));\n'
        for step in steps
    ).replace("u;", "ull;")
    main = f"int program() {{\n  const uint64_t begun = board::ticks();\n{looks}  return 0;\n}}\n"
    source = tmp_path / "clock.cc"
    # Zephyr's board has a main of its own.
    text = (_BOARDS / f"board_{board}.cc").read_text().replace("int main()", "int boards_main()")
    source.write_text(f"#include <stdio.h>\n{text}\n{main}int main() {{ return program(); }}\n")
    include = (f"-I{tmp_path}", f"-I{TARGETS.parent / 'tflm' / 'app'}")
    program = tmp_path / "clock"
    subprocess.run(["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", *include, source, "-o", program], check=True)
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    assert [int(ticks) for ticks in said] == [sum(steps[: i + 1]) for i in range(len(steps))]


@pytest.mark.parametrize("board", sorted(path.stem for path in _BOARDS.glob("board_*.cc")))
def test_every_clock_has_64_bits(board: str) -> None:
    text = (_BOARDS / f"{board}.cc").read_text()
    assert "uint64_t ticks() {" in text
    assert "uint32_t ticks()" not in text


def test_times_of_many_inferences_are_printed_whole(tmp_path: Path) -> None:
    """32 inferences of 5 seconds at 1 GHz are 1.6e11 ticks, whose nanoseconds by a billion are beyond 64 bits."""
    text = (TARGETS.parent / "tflm" / "app" / "tflm_self_test.cc").read_text()
    begin = text.index("void print_nanoseconds")
    function = text[begin : text.index("}\n", begin) + 2]
    source = tmp_path / "times.cc"
    source.write_text(f"""\
#include <stdint.h>
#include <stdio.h>
namespace board {{
uint64_t rate;
uint64_t ticks_per_second() {{ return rate; }}
void print(const char*) {{}}
}}
namespace console {{
void print_unsigned(uint64_t value) {{ printf("%llu\\n", static_cast<unsigned long long>(value)); }}
}}
{function}
int main() {{
  board::rate = 1000000000u;
  print_nanoseconds(160000000000u, 32);
  board::rate = 3000000u;
  print_nanoseconds(10u, 1);
  print_nanoseconds(3000000u * 3600ull * 24 * 365, 1);
}}
""")
    program = tmp_path / "times"
    subprocess.run(["g++", "-std=c++17", source, "-o", program], check=True)
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    assert [int(each) for each in said] == [5_000_000_000, 3333, 365 * 24 * 3600 * 10**9]
