"""What the benchmarks share: timing, peers in a process of their own, tables, JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def parser(description: str) -> argparse.ArgumentParser:
    """Options that every benchmark has."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--json", type=Path, help="also write the figures here")
    result.add_argument(
        "--peer-python",
        default=sys.executable,
        help='a Python with the peers: pip install "swarmctl[bench]" -c constraints.txt',
    )
    result.add_argument("--repeats", type=int, default=5, help="the best of so many is taken")
    return result


def best(function: Callable[[], Any], repeats: int) -> float:
    """Return the shortest time of `repeats` calls in s.

    The function must block until it is done.
    """
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def peer(python: str, script: str, *arguments: object) -> dict[str, Any] | None:
    """Run a peer and return its figures, or None with a word on stderr if it cannot run."""
    command = [python, str(HERE / "peers" / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no output"]
        print(f"peer {script} did not run: {reason[0]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import jax

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    device = jax.devices()[0]
    return {
        "cpu": name,
        "cores": cores(),
        "device": f"{device.platform} {device.device_kind}",
        "jax": jax.__version__,
        "python": platform.python_version(),
    }


def report(title: str, rows: Sequence[Mapping[str, Any]], path: Path | None) -> None:
    """Print rows as a Markdown table and write them as JSON with the machine."""
    about = machine()
    print(f"\n{title}")
    print(", ".join(f"{key} {value}" for key, value in about.items()) + "\n")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_text(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(c), *(len(row[i]) for row in cells)) for i, c in enumerate(columns)]
    line = "| " + " | ".join(f"{c:{w}}" for c, w in zip(columns, widths, strict=True)) + " |"
    print(line)
    print("|" + "|".join("-" * (w + 2) for w in widths) + "|")
    for row in cells:
        print("| " + " | ".join(f"{c:>{w}}" for c, w in zip(row, widths, strict=True)) + " |")
    if path is not None:
        path.write_text(
            json.dumps({"title": title, "machine": about, "rows": list(rows)}, indent=2)
        )


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)
