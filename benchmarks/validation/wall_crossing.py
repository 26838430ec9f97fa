"""Does anybody get through a wall? 10⁸ particle-steps at top speed into a wall and a corner.

    python benchmarks/validation/wall_crossing.py

Colloids of 1 µm in water at 300 K swim at 5 µm/s into a straight wall, the inside and the outside
of a corner, a thick wall and a pillar, with the longest time step that is allowed (dt k/γ = 0.2),
and with 20 times as much. Every step from the old to the new centre is tested. With the first
nobody may cross; with the second the crossings must be seen.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import parser, report

from swarmctl.core.units import BOLTZMANN
from swarmctl.core.wall_geometry import compile_walls
from swarmctl.core.walls import Circle, Polygon, Segment, Wall
from swarmctl.core.world import Box
from swarmctl.physics.contacts import STIFFNESS
from swarmctl.physics.walls import WallParams, wall_crossings, wall_forces, wall_params

Array = jax.Array

BOX = Box((100.0, 100.0), "open")
RADIUS, SPEED, VISCOSITY, TEMPERATURE = 1.0, 5.0, 1e-3, 300.0
HEAT = BOLTZMANN * TEMPERATURE
FRICTION = 6 * math.pi * VISCOSITY * RADIUS
CASES: dict[str, tuple[tuple[Wall, ...], tuple[float, float], tuple[float, float]]] = {
    "straight wall": (
        (Polygon(((44, 44), (56, 44), (56, 56), (44, 56)), "inside"),),
        (50, 45.2),
        (50, -1000),
    ),
    "inside of a corner": (
        (Polygon(((44, 44), (56, 44), (56, 56), (44, 56)), "inside"),),
        (45.2, 45.2),
        (40, 40),
    ),
    "outside of a corner": (
        (Polygon(((40, 50), (50, 50), (50, 40), (60, 40), (60, 60), (40, 60)), "inside"),),
        (51, 51),
        (40, 40),
    ),
    "thick wall": (
        (Segment((44, 44), (56, 44), 1), Segment((44, 52), (56, 52), 1)),
        (50, 45.7),
        (50, -1000),
    ),
    "pillar": ((Circle((50, 50), 5), Circle((50, 50), 12, "inside")), (54.5, 54.5), (50, 50)),
}
"""Walls, where the colloids start, and where they swim to. Rooms are closed: whom a contact that is
not resolved throws away meets another wall.
"""


def drive(
    walls: WallParams, start: Array, target: Array, time_step: float, steps: int, key: Array
) -> tuple[Array, Array, Array]:
    """Swim from start towards target [2,N]; return who crossed, the end and the deepest contact."""
    one, size = jnp.full(start.shape[1], RADIUS), jnp.asarray(BOX.size)
    shake = math.sqrt(2 * HEAT / FRICTION * time_step)
    heat = jnp.asarray(HEAT)

    def step(i: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        x, crossed, deepest = carry
        force, close = wall_forces(
            x, one, one * FRICTION * SPEED, heat, None, walls, size, BOX.periodic
        )
        way = target - x
        drift = SPEED * way / jnp.sqrt((way**2).sum(0)) + force / FRICTION
        noise = jax.random.normal(jax.random.fold_in(key, i), x.shape, x.dtype)
        new = x + drift * time_step + shake * noise
        crossed |= wall_crossings(x, new, walls, size, BOX.periodic, one, close)
        return new, crossed, jnp.maximum(deepest, jnp.where(crossed, 0, close))

    none = jnp.zeros(start.shape[1], bool)
    end, crossed, deepest = jax.lax.fori_loop(0, steps, step, (start, none, 0.0 * start[0]))
    return crossed, end, deepest


def main() -> int:
    """Run and report; the exit status is 1 if a case fails."""
    options = parser(__doc__ or "")
    options.add_argument("--particle-steps", type=float, default=1e8, help="per case")
    options.add_argument("--colloids", type=int, default=5000)
    arguments = options.parse_args()
    stiffness = STIFFNESS * max(HEAT, FRICTION * SPEED * RADIUS) / RADIUS**2
    longest = 0.2 * FRICTION / stiffness
    run = jax.jit(drive, static_argnums=(3, 4))
    rows, failed = [], False
    for name, (shapes, start, target) in CASES.items():
        walls = wall_params(compile_walls(shapes, BOX, RADIUS + 0.5))
        for factor in (1, 20):
            count = arguments.colloids
            total = arguments.particle_steps / factor
            steps = max(1, round(total / count))
            begun = time.perf_counter()
            crossed, _, deepest = run(
                walls,
                jnp.tile(jnp.asarray(start, float)[:, None], (1, count)),
                jnp.tile(jnp.asarray(target, float)[:, None], (1, count)),
                factor * longest,
                steps,
                jax.random.key(factor),
            )
            through = int(crossed.sum())
            ok = (through == 0) if factor == 1 else (through > 0)
            failed |= not ok
            rows.append(
                {
                    "case": name,
                    "time step (ms)": 1e3 * factor * longest,
                    "dt k/γ": 0.2 * factor,
                    "particle-steps": float(steps * count),
                    "colloids that crossed": through,
                    "wanted": "none" if factor == 1 else "some",
                    "closest approach (radius)": float(1 / jnp.sqrt(deepest.max())),
                    "time (s)": time.perf_counter() - begun,
                    "": "pass" if ok else "FAIL",
                }
            )
    report("Crossings of walls", rows, arguments.json)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
