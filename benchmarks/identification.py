"""Coverage of identification: how often 95 % intervals hold the truth of hidden laboratories.

    python benchmarks/identification.py --json docs/data/identification.json

Every laboratory is simulated with numbers of its own (gains, diffusion, drift, delay, errors of
localisation, lost tracks), recorded for 2 to 4 minutes at 10 Hz with 20 to 40 colloids under random
commands, and fitted. With 100 laboratories a coverage of 95 % comes out between 90 and 98 % in 95
of 100 repetitions. `--keep` leaves the rows of other cases in the JSON file as they are, `--plot`
draws them all. `--resume FOLDER` keeps every fit there, and goes on where the last run stopped; use
a new folder when the code has changed.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, report

from swarmctl.lab.identified import SpeciesFit
from swarmctl.lab.identify import Options, identify
from swarmctl.records.trajectory import Trajectory

BATCH = 20
CASES = ("heading seen", "heading not seen", "light")


def fitted(job: tuple[Trajectory, float]) -> SpeciesFit:
    trajectory, radius = job
    return identify(trajectory, Options(commands="requested"), radius=[radius]).species[0]


def case(
    name: str, count: int, seed: int, workers: int, done: Path | None
) -> tuple[list[dict[str, Any]], float]:
    """Truth and fit of the laboratories of a case, and the seconds that a fit took on average.

    `done` is a file of one line per laboratory; those that it has are not fitted again.
    """
    from swarmctl.testing.hidden_labs import LIGHT, HiddenLabs, record_labs

    labs = HiddenLabs(randomise=LIGHT, light=True) if name == "light" else HiddenLabs()
    found, fresh, seconds = finished(done, name, seed)[:count], 0, 0.0
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        while len(found) < count:
            # Batches are whole, so that a laboratory does not depend on how many are asked for.
            begin = len(found) // BATCH * BATCH
            truths, recordings = record_labs(labs, BATCH, seed + begin)
            if name == "heading not seen":
                recordings = [
                    dataclasses.replace(r, oriented=np.zeros_like(r.present)) for r in recordings
                ]
            own = slice(len(found) - begin, count - begin)
            started = time.perf_counter()
            jobs = [(recording, labs.radius) for recording in recordings[own]]
            for truth, fit in zip(truths[own], pool.map(fitted, jobs), strict=True):
                intervals = {q: [fit[q].value, fit[q].low, fit[q].high] for q in truth}
                lab = {"case": name, "seed": seed, "truth": truth, "fit": intervals}
                found.append(lab)
                fresh += 1
                if done is not None:
                    with done.open("a") as file:
                        file.write(json.dumps(lab) + "\n")
            seconds += time.perf_counter() - started
            print(f"{name}: {len(found)} of {count}", flush=True)
    return found, seconds / max(fresh, 1)


def finished(done: Path | None, name: str, seed: int) -> list[dict[str, Any]]:
    """Laboratories that an earlier run has fitted, in their order."""
    if done is None or not done.exists():
        return []
    found = [json.loads(line) for line in done.read_text().splitlines()]
    if any((lab["case"], lab["seed"]) != (name, seed) for lab in found):
        raise SystemExit(f"{done}: of another seed; give another folder with --resume.")
    return found


def rows(name: str, found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per quantity: coverage, bias in standard errors, median relative error."""
    result = []
    for quantity in found[0]["truth"]:
        held, off, errors, missing = [], [], [], 0
        for lab in found:
            (value, low, high), truth = lab["fit"][quantity], lab["truth"][quantity]
            if value is None:
                missing += 1
                continue
            held.append(low <= truth <= high)
            off.append(2 * (value - truth) / (high - low))
            errors.append(abs(value - truth) / abs(truth))
        if not held:
            continue
        result.append(
            {
                "laboratories": name,
                "quantity": quantity,
                "count": len(held),
                "coverage": float(np.mean(held)),
                # In units of its own scatter over the root of the number of laboratories.
                "bias / s.e.": float(np.mean(off) / (np.std(off) / len(off) ** 0.5)),
                "bias / half interval": float(np.mean(off)),
                "median relative error": float(np.median(errors)),
                "not identified": missing,
            }
        )
    return result


def plot(table: Sequence[dict[str, Any]], path: Path) -> None:
    """Coverage of every quantity, with the band in which 95 of 100 true 95 % intervals fall."""
    from matplotlib.figure import Figure

    cases = [name for name in CASES if any(row["laboratories"] == name for row in table)]
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    panels = figure.subplots(1, len(cases), sharex=True, squeeze=False)[0]
    for axes, name in zip(panels, cases, strict=True):
        own = [row for row in table if row["laboratories"] == name]
        axes.axvspan(0.9, 0.98, color="#dce9f2", zorder=0)
        axes.axvline(0.95, color="#7f9db3", linewidth=1, zorder=1)
        axes.plot([row["coverage"] for row in own], range(len(own)), "o", color="#c2410c")
        axes.set_yticks(range(len(own)), [row["quantity"].replace("_", " ") for row in own])
        axes.invert_yaxis()
        axes.set_xlim(0.8, 1.005)
        axes.set_title(name, fontsize=10)
        axes.tick_params(labelsize=8)
    figure.supxlabel("share of laboratories whose truth lies in the 95 % interval", fontsize=9)
    figure.savefig(path, dpi=150)


def kept(path: Path | None, cases: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of other cases in a JSON file."""
    if path is None or not path.exists():
        return []
    return [row for row in json.loads(path.read_text())["rows"] if row["laboratories"] not in cases]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--labs", type=int, default=100)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--cases", nargs="*", default=CASES, choices=CASES)
    options.add_argument("--workers", type=int, default=1, help="processes that fit")
    options.add_argument("--resume", type=Path, help="folder of what is done already")
    options.add_argument("--keep", action="store_true", help="keep the JSON's other cases")
    options.add_argument("--plot", type=Path, help="draw the coverage here")
    given = options.parse_args()
    table = kept(given.json, given.cases) if given.keep else []
    if given.resume is not None:
        given.resume.mkdir(parents=True, exist_ok=True)
    for name in given.cases:
        done = given.resume and given.resume / f"{name.replace(' ', '-')}.jsonl"
        started = time.perf_counter()
        found, each = case(name, given.labs, given.seed, given.workers, done)
        whole = time.perf_counter() - started
        print(f"{name}: {whole:.0f} s, {each:.2f} s a fit with {given.workers} processes")
        table += rows(name, found)
    table.sort(key=lambda row: CASES.index(row["laboratories"]))
    report("Identification of hidden laboratories", table, given.json)
    if given.plot is not None:
        plot(table, given.plot)


if __name__ == "__main__":
    main()
