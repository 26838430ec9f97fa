"""Published findings on learning, reproduced: docs/results/findings.md.

`python benchmarks/findings/run.py` runs all, `python benchmarks/findings/run.py drift peclet` some.
Figures are kept in docs/data/findings-NAME.json, from which the page is written. A finding without
such a file (those of the first full run were not kept) stays on the page as it stands there, until
it is run again; so does everything that is not run.

drift       a swimmer that swims or turns, towards a far point: PPO beside the optimal rule [D]
arrival     perfect steering under noise: mean time of arrival of PPO beside the formula [D]
zermelo     the fastest way through shear without noise: PPO beside the optimal time (Bryson, Ho)
gravitaxis  rising between vortices: gain over the naive swimmer (Colabrese et al. 2017)
credit      turning a rod: counterfactual reward beside the team's (Heuthe et al. 2024)
peclet      where chemotaxis stops being learnable as Péclet numbers fall (Tovey 2024)
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import Row
from flows import gravitaxis, zermelo
from swarms import credit, peclet
from swimming import arrival, drift

from swarmctl.records.arrays import write_json_atomic

ROOT = Path(__file__).resolve().parents[2]
DATA, PAGE = ROOT / "docs" / "data", ROOT / "docs" / "results" / "findings.md"

FINDINGS: dict[str, tuple[Callable[[int], list[Row]], str, str]] = {
    "drift": (
        drift,
        "Swim or turn, towards a far point",
        "A swimmer swims at v or turns at ω = κ D_r, not both. The best is to swim iff the target "
        "lies within θ* of its heading. Decision interval 0.03/max(ω, D_r).",
    ),
    "arrival": (
        arrival,
        "Arrival under noise",
        "T = (r₀ - a)/v + (D/v²) ln(r₀/a), with a less 0.5826 √(2DΔ), since arrivals are seen "
        "once a decision.",
    ),
    "zermelo": (
        zermelo,
        "Zermelo's problem in shear",
        "From (3.66, -1.86) to the origin of ẋ = cos θ - y, ẏ = sin θ in T = 5.45787.",
    ),
    "gravitaxis": (
        gravitaxis,
        "Gravitaxis between vortices",
        "A swimmer of speed Φ = 0.3 in u = ½[-cos x sin z, sin x cos z] turns towards one of four "
        "directions, ṗ = [k - (k·p)p]/2Ψ + ½ω×p, and sees twelve states (Colabrese et al. 2017). "
        "Rise over T = 40 from a uniform start with any heading. A global field turns it here.",
    ),
    "credit": (
        credit,
        "Who turned the rod?",
        "Thirty robots turn a rod. A robot is paid for what the rod would not have turned without "
        "its push (counterfactual), or all are paid equally.",
    ),
    "peclet": (
        peclet,
        "Where chemotaxis can be learned",
        "Swimmers of a = 0.5 µm in water, without contacts. Success is 1 - d/d₀: mean distance "
        "from the source in the last quarter over that of random swimmers.",
    ),
}


def file_of(name: str) -> Path:
    """Where the figures of a finding lie."""
    return DATA / f"findings-{name}.json"


def write_page() -> None:
    """Write the page from all figures; sections without figures stay as they are there."""
    before = sections(PAGE.read_text(encoding="utf-8")) if PAGE.is_file() else {}
    parts = [
        "# Findings on learning\n\n"
        "What others found, or what follows from a formula, and what PPO does here. Made by\n"
        "`python benchmarks/findings/run.py`; intervals are Student's 95 % over training seeds."
    ]
    for name, (_, title, text) in FINDINGS.items():
        if file_of(name).is_file():
            data = json.loads(file_of(name).read_text(encoding="utf-8"))
            parts.append(section(name, title, text, data))
        elif title in before:
            parts.append(before[title])
    PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def sections(page: str) -> dict[str, str]:
    """Sections of a page, headings included, by their titles."""
    parts = re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0].removeprefix("## "): part.strip() for part in parts}


def section(name: str, title: str, text: str, data: dict[str, Any]) -> str:
    """A section of the page."""
    lines = [f"## {title}", "", text, ""]
    lines += [
        "| what | found [95 %] | seeds | wanted | | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for r in data["rows"]:
        band = "" if r["low"] is None else f" [{r['low']:.4g}, {r['high']:.4g}]"
        lines.append(
            f"| {r['what']} | {r['mean']:.4g}{band} | {r['seeds']} | {r['reference']} | "
            f"{'pass' if r['passed'] else '**fail**'} | {r['note']} |"
        )
    lines += ["", f"`python benchmarks/findings/run.py {name}`, {data['seconds']:.0f} s."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=", ".join(FINDINGS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trial", action="store_true", help="print only")
    options = parser.parse_args()
    unknown = set(options.names) - set(FINDINGS)
    if unknown:
        parser.error(f"{', '.join(unknown)}: not known, only {', '.join(FINDINGS)}")
    for name in options.names or FINDINGS:
        started = time.perf_counter()
        rows = FINDINGS[name][0](options.seeds)
        seconds = time.perf_counter() - started
        for r in rows:
            r |= {end: None if math.isnan(r[end]) else r[end] for end in ("low", "high")}
            print(
                f"{name}: {r['what']}: {r['mean']:.4g} [{r['low']}, {r['high']}], wanted "
                f"{r['reference']}: {'pass' if r['passed'] else 'FAIL'} {r['note']}",
                flush=True,
            )
        if not options.trial:
            write_json_atomic(file_of(name), {"rows": rows, "seconds": seconds})
            write_page()


if __name__ == "__main__":
    main()
