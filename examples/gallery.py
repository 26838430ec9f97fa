"""Makes the pictures of docs/gallery.md: one world file each, simulated for a moment and drawn.

    python examples/gallery.py [NAME ...]

To add a row: put NAME.toml into examples/worlds, a line into ROWS, and a section into the page.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

from swarmctl.records.trajectory import read_trajectory
from swarmctl.training.configs import SimulateConfig
from swarmctl.training.record import scene_frames
from swarmctl.training.simulate import simulate
from swarmctl.training.world_file import load_simulation
from swarmctl.training.world_picture import simulation_scene
from swarmctl.viz.movie import write_movie

ROOT = Path(__file__).resolve().parents[1]
WORLDS = ROOT / "examples" / "worlds"
IMAGES = ROOT / "docs" / "images"

# World -> pictures in the film; 0 makes a still of the last state with the paths that led to it.
ROWS = {
    "swarm": 0,
    "swarm3d": 0,
    "langevin": 0,
    "shear": 24,
    "rods": 16,
    "shapes": 16,
    "maze": 0,
    "walls": 0,
    "trap": 0,
    "taylor_green": 0,
    "rollers": 20,
    "chemicals": 14,
    "light": 0,
    "sedimentation": 16,
}
FILM, STILL = 260, 360
"""Sides in pixels."""


def make(name: str) -> Path:
    """Simulate one world and draw it."""
    pictures = ROWS[name]
    with tempfile.TemporaryDirectory() as folder:
        config = SimulateConfig(
            str(WORLDS / f"{name}.toml"), Path(folder) / "run", formats=(), progress=False
        )
        result = simulate(config, say=lambda text: print(text.partition("\n")[0]))
        trajectory = read_trajectory(result.trajectory)
        simulation = load_simulation(result.path)
    scene, values = simulation_scene(simulation.world, trajectory, simulation.run.title)
    target = IMAGES / f"gallery-{name.replace('_', '-')}"
    if pictures:
        every = max(1, len(trajectory) // pictures)
        frames = scene_frames(scene, trajectory, FILM, every, values, states=2 * every)
        return write_movie(target, frames, fps=10, formats=("gif",)).paths[0]
    *_, last = scene_frames(scene, trajectory, STILL, len(trajectory), values, states=24)
    path = target.with_suffix(".png")
    # A palette makes the file a third as long; flat colours lose nothing.
    Image.fromarray(last).quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


if __name__ == "__main__":
    for name in sys.argv[1:] or ROWS:
        path = make(name)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB", flush=True)
