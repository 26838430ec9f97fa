"""Effective mobility of a colloid in the lattice-Boltzmann fluid of ESPResSo, calibrated to 6πηa.

python benchmarks/espresso_lattice_boltzmann.py

Needs a build of ESPResSo with WALBERLA, and says so without one. The fluid takes momentum from
particles, so it goes with inertia only (Langevin), never with Brownian dynamics, and it is far too
slow to train in: this is no part of the engine.

A point that drags on the fluid with the friction γ moves, in an unbounded fluid, as if its friction
were γ_eff, with 1/γ_eff = 1/γ + 1/(c η h): the fluid of the lattice, of spacing h, adds to it. The
script measures c with one γ, chooses the γ for which γ_eff = 6πηa, and measures again. Periodic
images lower the mobility by 2.837 a/L (Hasimoto, J. Fluid Mech. 5, 317 (1959)), which is taken out.
Units are those of the lattice: its spacing, its time step, its density.
"""

from __future__ import annotations

import importlib
import math
import sys

import numpy as np

from swarmctl.engines import espresso_build

SIDE, TIME_STEP, VISCOSITY, RADIUS, FORCE = 24, 0.01, 1.0, 0.5, 0.01
"""Cells along the box; step; η at density 1; a/h; a force for a Reynolds number of 1e-3."""
STEPS, SAMPLES = 30_000, 40
"""Momentum spreads over the box in L²/ν = 576: more than half of the time is left for averaging."""
HASIMOTO = 2.837297
ALLOWED = 0.05


def measure(system: object, friction: float) -> float:
    """Mobility in an unbounded fluid of a point with this bare friction."""
    lb = importlib.import_module("espressomd.lb")
    system.part.clear()
    system.thermostat.turn_off()
    system.lb = None
    # The fluid is pushed back as a whole, or the force would speed up everything.
    fluid = lb.LBFluidWalberla(
        agrid=1.0,
        density=1.0,
        kinematic_viscosity=VISCOSITY,
        tau=TIME_STEP,
        ext_force_density=[-FORCE / SIDE**3, 0, 0],
    )
    system.lb = fluid
    system.thermostat.set_lb(LB_fluid=fluid, gamma=friction, seed=1)
    rng = np.random.default_rng(0)
    point = system.part.add(pos=rng.uniform(0, SIDE, 3), ext_force=[FORCE, 0, 0], mass=1.0)
    system.integrator.run(STEPS // 2)
    speeds = []
    for _ in range(SAMPLES):
        system.integrator.run(STEPS // 2 // SAMPLES)
        speeds.append(point.v[0])
    return float(np.mean(speeds)) / FORCE + HASIMOTO / (6 * math.pi * VISCOSITY * SIDE)


def main() -> None:
    """Calibrate and check."""
    if not espresso_build.is_installed():
        print(f"not run: ESPResSo is not installed; {espresso_build.HOW_TO_GET}")
        return
    if "WALBERLA" not in importlib.import_module("espressomd.code_info").features():
        print(
            "not run: this build of ESPResSo has no lattice Boltzmann. Build it with "
            "-DESPRESSO_BUILD_WITH_WALBERLA=ON."
        )
        return
    system = importlib.import_module("espressomd.system").System(box_l=[SIDE] * 3)
    system.time_step, system.cell_system.skin = TIME_STEP, 0.4
    wanted = 6 * math.pi * VISCOSITY * RADIUS
    first = measure(system, wanted)
    lattice = first - 1 / wanted
    print(f"mobility of the lattice 1/(c η h), c = {1 / (lattice * VISCOSITY):.3f}")
    if lattice >= 1 / wanted:
        sys.exit(f"a = {RADIUS} h is too large for this lattice: take a smaller radius.")
    calibrated = 1 / (1 / wanted - lattice)
    found = 1 / measure(system, calibrated)
    error = found / wanted - 1
    print(
        f"γ = {calibrated:.4g} gives γ_eff = {found:.4g}, 6πηa = {wanted:.4g}: {100 * error:+.1f} %"
    )
    if abs(error) > ALLOWED:
        sys.exit(f"off by more than {100 * ALLOWED:g} %")


if __name__ == "__main__":
    main()
