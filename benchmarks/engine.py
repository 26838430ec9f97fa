"""Particle-steps per second of the JAX engine, batched and alone, beside LAMMPS on equal cores.

python benchmarks/engine.py [--peer-python PYTHON] [--json FILE]

Both move active Brownian discs with WCA contacts, equal in diameter, speed, energy, packing
fraction and time step. swarmctl runs `swarms` systems in one batch; LAMMPS runs one independent
system a core, side by side, its fastest arrangement at these sizes. The last columns are swarmctl's
rate over LAMMPS's.
"""

from __future__ import annotations

import math
import time

import jax
import jax.numpy as jnp
from common import best, cores, parser, peer, report

from swarmctl.core.command import Command
from swarmctl.core.world import Box, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine

RADIUS, SPEED, TIME_STEP = 2.14, 2.0, 5e-3
STEPS_PER_INTERVAL = 5
CASES = [
    (10, 1),
    (10, 256),
    (10, 1024),
    (10, 4096),
    (48, 1),
    (48, 64),
    (48, 256),
    (48, 1024),
    (200, 64),
]


def swarmctl_rate(count: int, swarms: int, phi: float, repeats: int) -> tuple[float, float]:
    """Return (particle-steps/s, seconds to compile)."""
    side = math.sqrt(count * math.pi * RADIUS**2 / phi)
    species = Species(count=count, radius=RADIUS, speed_max=SPEED, placement=Placement("box"))
    world = World(box=Box((side, side)), species=(species,), time_step=TIME_STEP)
    engine = JaxEngine(world, STEPS_PER_INTERVAL * TIME_STEP)
    params = engine.params()
    state = jax.jit(jax.vmap(engine.init, (0, None)))(
        jax.random.split(jax.random.key(0), swarms), params
    )
    command = Command(speed=jnp.full((swarms, count), SPEED), turn_rate=jnp.zeros((swarms, count)))
    intervals = max(8, int(4e6 / (count * swarms * STEPS_PER_INTERVAL)))

    @jax.jit
    def run(key, state):
        def body(state, key):
            keys = jax.random.split(key, swarms)
            state, _, flags = jax.vmap(engine.advance, (0, 0, 0, None))(
                keys, state, command, params
            )
            return state, flags.overlap.any() | flags.diverged.any()

        return jax.lax.scan(body, state, jax.random.split(key, intervals))

    start = time.perf_counter()
    state, failed = jax.block_until_ready(run(jax.random.key(1), state))
    compiling = time.perf_counter() - start
    if bool(failed.any()):
        raise RuntimeError("the benchmark's swarm overlapped or diverged")
    seconds = best(lambda: jax.block_until_ready(run(jax.random.key(2), state)), repeats)
    return count * swarms * STEPS_PER_INTERVAL * intervals / seconds, compiling


def main() -> None:
    """Measure every case and print the table."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--phi", type=float, default=0.1, help="packing fraction")
    chosen = options.parse_args()
    peers: dict[int, float | None] = {}
    rows = []
    for count, swarms in CASES:
        if count not in peers:
            steps = int(2e6 / count)
            found = peer(
                chosen.peer_python,
                "lammps_abp.py",
                *(count, steps, chosen.phi, RADIUS, SPEED, TIME_STEP, cores()),
            )
            peers[count] = found and found["particle_steps_per_s"]
        rate, compiling = swarmctl_rate(count, swarms, chosen.phi, chosen.repeats)
        lammps = peers[count]
        rows.append(
            {
                "N": count,
                "swarms": swarms,
                "swarmctl (M/s)": rate / 1e6,
                "compile (s)": compiling,
                "LAMMPS (M/s)": lammps and lammps / 1e6,
                "ratio": lammps and rate / lammps,
            }
        )
        print(rows[-1], flush=True)
    report(f"Engine, particle-steps per second at packing fraction {chosen.phi}", rows, chosen.json)


if __name__ == "__main__":
    main()
