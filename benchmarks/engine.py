"""Particle-steps per second of the engine from 10 to a million colloids, beside LAMMPS.

python benchmarks/engine.py [--peer-python PYTHON] [--json FILE] [--plot FILE] [--markdown FILE]

Both move active Brownian discs with WCA contacts, equal in diameter, speed, energy, packing
fraction and time step, both from a square lattice, on the same cores. swarmctl runs several swarms
in one batch where they are small; LAMMPS runs one system a core or one system on all cores,
whichever is faster, with the best of three skins. Memory is what the process grew by.
"""

from __future__ import annotations

import dataclasses
import math
import resource
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import best, cores, machine, parser, peer, report

from swarmctl.core.command import Command
from swarmctl.core.world import Box, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine, JaxEngineState
from swarmctl.physics import compiled

RADIUS, SPEED, TIME_STEP = 2.14, 2.0, 5e-3
WARM_STEPS = 200
CASES = ((10, 1024), (48, 512), (200, 128), (1000, 16), (10**4, 2), (10**5, 1), (10**6, 1))
"""Colloids, and swarms in a batch."""
FRACTIONS = (0.1, 0.5)


def lattice_state(engine: JaxEngine, swarms: int, side: float) -> JaxEngineState:
    """States [swarms, ...] on a square lattice, in random directions."""
    count = engine.spec.capacity
    blank = jax.eval_shape(engine.init, jax.random.key(0), engine.params())
    state = jax.tree.map(lambda x: jnp.zeros((swarms, *x.shape), x.dtype), blank)
    columns = math.ceil(math.sqrt(count))
    i = np.arange(count)
    point = (np.stack([i % columns, i // columns], -1) + 0.5) * side / columns
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, (swarms, count))
    dtype = state.motion.position.dtype
    motion = dataclasses.replace(
        state.motion,
        position=jnp.broadcast_to(jnp.asarray(point, dtype), (swarms, count, 2)),
        director=jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], -1), dtype),
    )
    return dataclasses.replace(state, motion=motion)


def swarmctl_rate(count: int, swarms: int, phi: float, steps: int, repeats: int) -> dict[str, Any]:
    """Particle-steps/s, seconds to compile and bytes a particle."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    side = math.sqrt(count * math.pi * RADIUS**2 / phi)
    species = Species(count=count, radius=RADIUS, speed_max=SPEED, placement=Placement("box"))
    world = World(box=Box((side, side)), species=(species,), time_step=TIME_STEP)
    engine = JaxEngine(world, steps * TIME_STEP)
    params = engine.params()
    state = lattice_state(engine, swarms, side)
    command = Command(speed=jnp.full((swarms, count), SPEED))

    @jax.jit
    def run(key, state, intervals):
        def body(index, carry):
            state, failed = carry
            keys = jax.random.split(jax.random.fold_in(key, index), swarms)
            state, _, flags = jax.vmap(engine.advance, (0, 0, 0, None))(
                keys, state, command, params
            )
            return state, failed | flags.overlap.any() | flags.diverged.any()

        return jax.lax.fori_loop(0, intervals, body, (state, jnp.asarray(False)))

    start = time.perf_counter()
    jax.block_until_ready(run(jax.random.key(1), state, 0))
    compiling = time.perf_counter() - start
    state, failed = run(jax.random.key(1), state, math.ceil(WARM_STEPS / steps))
    if bool(failed):
        raise RuntimeError("the benchmark's swarm overlapped or diverged")
    intervals = max(2, int(2e6 / (count * swarms * steps)))
    seconds = best(lambda: jax.block_until_ready(run(jax.random.key(2), state, intervals)), repeats)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "path": "kernel" if compiled.chosen(engine.config) else "XLA",
        "swarmctl (M/s)": count * swarms * steps * intervals / seconds / 1e6,
        "compile (s)": compiling,
        "bytes/particle": grown * unit / count if count * swarms >= 10**5 else None,
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table for the documentation."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
        return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)

    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " ---: |" * len(names)]
    lines += ["| " + " | ".join(cell(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the rates over N, double logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for phi, colour in zip(FRACTIONS, ("tab:blue", "tab:red"), strict=True):
        some = [row for row in rows if row["phi"] == phi]
        for name, style in (("swarmctl", "o-"), ("LAMMPS", "s--")):
            points = [(row["N"], row[f"{name} (M/s)"]) for row in some if row[f"{name} (M/s)"]]
            if points:
                axes.loglog(
                    *zip(*points, strict=True), style, color=colour, label=f"{name}, φ = {phi}"
                )
    about = machine()
    axes.set_title(f"{about['cpu']}, {about['cores']} cores", fontsize=9)
    axes.set_xlabel("colloids N")
    axes.set_ylabel("million particle-steps per second")
    axes.grid(alpha=0.3)
    axes.set_ylim(top=3 * axes.get_ylim()[1])  # room for the legend
    axes.legend(frameon=False, ncols=2)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure every case and print the table."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, default=20, help="time steps per control interval")
    options.add_argument("--most", type=int, default=10**6, help="largest N")
    options.add_argument("--plot", type=Path, help="write the figure here")
    options.add_argument("--markdown", type=Path, help="write the table here")
    chosen = options.parse_args()
    rows: list[dict[str, Any]] = []
    for count, swarms in CASES:
        for phi in FRACTIONS:
            if count > chosen.most:
                continue
            found = peer(
                chosen.peer_python,
                "lammps_abp.py",
                *(count, max(240, int(2e6 / count)), phi, RADIUS, SPEED, TIME_STEP, cores()),
            )
            lammps = found and found["particle_steps_per_s"] / 1e6
            ours = swarmctl_rate(count, swarms, phi, chosen.steps, chosen.repeats)
            ratio = lammps and ours["swarmctl (M/s)"] / lammps
            row = {"N": count, "phi": phi, "swarms": swarms, **ours}
            row |= {"LAMMPS (M/s)": lammps, "LAMMPS how": found and found["how"], "ratio": ratio}
            rows.append(row)
            print(row, flush=True)
    title = f"Engine, {chosen.steps} time steps per control interval"
    report(title, rows, chosen.json)
    if chosen.plot is not None:
        plot(rows, chosen.plot)
    if chosen.markdown is not None:
        chosen.markdown.write_text(markdown(rows) + "\n")


if __name__ == "__main__":
    main()
