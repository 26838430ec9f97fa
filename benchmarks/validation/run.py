"""Run the validation cases and write their page.

    python benchmarks/validation/run.py [--cases trap,langevin] [--quick] [--peer-python PYTHON]

Every case runs in a process of its own and leaves its figures in docs/data (with --quick in
build/validation), so that a run that was stopped goes on where it was: what is there already, from
the same version and effort, is not run again unless --fresh is given. At the end the table is
printed, and docs/validation.md and its pictures are written from what is there.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA, QUICK_DATA = ROOT / "docs" / "data", ROOT / "build" / "validation"
QUICK = 0.1
"""Share of the independent units that --quick simulates."""


@dataclass(frozen=True)
class Case:
    """Where a case's function is, and in which precision it runs."""

    module: str
    function: str
    title: str
    double: bool = False
    slow: bool = False


CASES = {
    "free": Case("cases_free", "free", "Free active particle"),
    "free-float64": Case("cases_free", "free", "Free active particle, float64", double=True),
    "trap": Case("cases_trap", "trap", "Active particle in a harmonic trap"),
    "boltzmann": Case("cases_trap", "boltzmann", "Boltzmann distributions"),
    "pushing": Case("cases_shapes", "pushing", "Pushing a rod"),
    "bodies": Case("cases_shapes", "bodies", "Diffusion of rigid bodies"),
    "jeffery": Case("cases_shapes", "jeffery", "Jeffery orbits"),
    "perrin": Case("cases_shapes", "perrin", "Diffusion of spheroids"),
    "pressure": Case("cases_walls", "pressure", "Pressure on flat walls"),
    "sedimentation": Case("cases_walls", "sedimentation", "Sedimentation"),
    "rotating-field": Case("cases_shapes", "rotating_field", "Rotating field"),
    "pair": Case("cases_contacts", "pair", "Distances of a pair"),
    "weak-order": Case("cases_contacts", "weak_order", "Order of the scheme"),
    "convergence": Case("cases_contacts", "convergence", "Convergence in the time step, φ = 0.5"),
    "langevin": Case("cases_inertia", "langevin", "Langevin dynamics"),
    "delay": Case("cases_delay", "delay", "Steering with delay"),
    "arrival": Case("cases_control", "arrival", "Arrival under perfect steering"),
    "drift": Case("cases_control", "drift", "Drift towards a far point"),
    "zermelo": Case("cases_control", "zermelo", "The fastest way through shear"),
    "swirl": Case("cases_control", "swirl", "Swirls"),
    "groups": Case("cases_control", "groups", "Groups"),
    "lammps": Case("cases_lammps", "lammps", "Beside LAMMPS"),
    "espresso": Case("cases_espresso", "espresso", "Beside ESPResSo"),
    "mips": Case("cases_mips", "mips", "Motility-induced phase separation", slow=True),
}


def run_here(name: str, effort: float, seed: int, folder: Path) -> None:
    """Run one case in this process and store its result."""
    case = CASES[name]
    start = time.perf_counter()
    result = getattr(importlib.import_module(case.module), case.function)(effort, seed)
    import jax

    from swarmctl.records.provenance import versions

    about = {
        "case": name,
        "effort": effort,
        "seed": seed,
        "dtype": "float64" if case.double else "float32",
        "version": versions()["swarmctl"],
        "jax": jax.__version__,
        "wall_s": time.perf_counter() - start,
    }
    if result.rows:
        result.save(folder / f"validation-{name}.json", about)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", help="names, separated by commas; all but slow ones if left out")
    parser.add_argument("--quick", action="store_true", help="a tenth of the statistics")
    parser.add_argument("--fresh", action="store_true", help="run again what is there already")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peer-python", help="a Python with lammps and mpich")
    parser.add_argument(
        "--page-only", action="store_true", help="write the page from what is there"
    )
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    effort = QUICK if options.quick else 1.0
    folder = QUICK_DATA if options.quick else DATA
    if options.here:
        run_here(options.here, effort, options.seed, folder)
        return
    names = [n for n, c in CASES.items() if not c.slow]
    if options.cases:
        names = options.cases.split(",")
        unknown = set(names) - set(CASES)
        if unknown:
            parser.error(f"unknown cases {sorted(unknown)}; there are {', '.join(CASES)}")
    failed = []
    for name in [] if options.page_only else names:
        if not options.fresh and _is_there(folder / f"validation-{name}.json", effort):
            print(f"{name}: there already", flush=True)
            continue
        environment = {**os.environ, "JAX_ENABLE_X64": "1" if CASES[name].double else "0"}
        if options.peer_python:
            environment["SWARMCTL_PEER_PYTHON"] = options.peer_python
        command = [sys.executable, __file__, "--here", name, "--seed", str(options.seed)]
        command += ["--quick"] if options.quick else []
        start = time.perf_counter()
        if subprocess.run(command, env=environment, check=False).returncode:
            failed.append(name)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    from page import table, write_page

    chosen = {n: folder / f"validation-{n}.json" for n in CASES}
    there = {CASES[n].title: path for n, path in chosen.items() if path.is_file()}
    print(table(there))
    if not options.quick:
        write_page(there, ROOT)
    if failed:
        sys.exit(f"did not finish: {', '.join(failed)}")


def _is_there(path: Path, effort: float) -> bool:
    from harness import load

    if not path.is_file():
        return False
    from swarmctl.records.provenance import versions

    _, about = load(path)
    return bool(about["effort"] == effort and about["version"] == versions()["swarmctl"])


if __name__ == "__main__":
    main()
