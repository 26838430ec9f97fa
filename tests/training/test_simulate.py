"""A world from a file: what it says is done, recorded whole, resumed bit for bit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from swarmctl.core.errors import (
    CapabilityError,
    ConfigError,
    PlacementError,
    RunFolderError,
    SwarmctlError,
    UnitError,
    UnknownNameError,
)
from swarmctl.records.commands import FIELD_CHANNELS, command_arrays
from swarmctl.records.trajectory import TrajectoryWriter, read_trajectory
from swarmctl.training import simulate as simulation_module
from swarmctl.training.configs import SimulateConfig
from swarmctl.training.movers import PureMover, make_mover
from swarmctl.training.simulate import simulate
from swarmctl.training.world_file import Run, load_simulation
from swarmctl.training.world_picture import energy_function, fitting_view, flow_function
from swarmctl.training.world_summary import msd

ROOT = Path(__file__).resolve().parents[2]
WORLDS = sorted((ROOT / "examples" / "worlds").glob("*.toml"))

ROD = """
[[bodies]]
name = "rod"
shape = {kind = "rod", length = "12 um", diameter = "4 um"}
torque = [1.0]
placement = {region = "points", positions = [["45 um", "15 um"]]}
"""
WORLD = """
[box]
size = ["60 um", "60 um"]

[fluid]
temperature = "0 K"

[[species]]
name = "swimmer"
count = 2
radius = "2000 nm"
placement = {region = "points", positions = [[10, 10], [30, 40]], directors = [[1, 0], [0, 1]]}

[run]
time = "1 s"
interval = "0.05 s"
every = "0.1 s"

[run.drive]
speed = "3 um/s"
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "world.toml"
    path.write_text(WORLD)
    return path


def run(file, out, **options):
    options = {"formats": (), "progress": False, **options}
    return simulate(SimulateConfig(str(file), out, **options), say=lambda text: None)


def test_a_swimmer_goes_where_its_director_points_and_a_torque_turns_a_rod(file, tmp_path):
    file.write_text(WORLD + ROD)
    result = run(file, tmp_path / "run")
    seen = read_trajectory(result.trajectory)
    np.testing.assert_allclose(seen.time, np.arange(11) / 10, atol=1e-12)
    # Without noise the path is a straight line: float32 of 40 µm resolves 4e-6 µm.
    moved = seen.position - seen.position[0]
    expected = 3.0 * seen.time[:, None, None] * np.array([[1, 0], [0, 1]])
    np.testing.assert_allclose(moved, expected, atol=1e-4)
    world = load_simulation(file).world
    _, friction = world.bodies[0].frictions(world.fluid.viscosity, 2)
    rate = 1.0 / friction[0]
    np.testing.assert_allclose(seen.bodies.angular_velocity[1:, 0], rate, rtol=1e-3)
    np.testing.assert_allclose(
        seen.bodies.orientation[-1] - seen.bodies.orientation[0], rate, rtol=1e-3
    )
    np.testing.assert_array_equal(seen.requested["speed"][1:], 3.0)
    assert np.isnan(seen.requested["speed"][0]).all()
    assert result.summary["species"]["swimmer"]["msd"][0] == pytest.approx([0.1, 0.09], rel=1e-3)
    assert result.summary["bodies"][0]["turn"] == pytest.approx(rate, rel=1e-3)
    assert json.loads((result.path / "summary.json").read_text()) == result.summary
    assert {p.name for p in result.path.iterdir() if not p.name.startswith(".")} == {
        "checkpoint.safetensors",
        "config.toml",
        "run.json",
        "still.png",
        "summary.json",
        "trajectory.h5md",
    }
    assert "body rod: moved" in result.text


def test_free_colloids_diffuse_as_their_friction_says(tmp_path):
    tables = {
        "box": {"size": [400, 400]},
        "contacts": False,
        "species": [{"count": 400, "radius": "0.5 um"}],
        "run": {"time": "1 s", "every": "0.1 s"},
    }
    simulation = load_simulation(tables)
    mover = make_mover(simulation)
    state = mover.start()
    position = [mover.observe(state)]
    for _ in range(10):
        state, _, _ = mover.advance(state)
        position.append(mover.observe(state))
    unwrapped = np.stack([np.asarray(p.unwrapped(mover.space)) for p in position])
    diffusion = simulation.world.diffusion(simulation.world.species[0])
    # 400 colloids x 10 steps x 2 axes: a relative standard error of sqrt(2/8000) = 1.6 %.
    assert msd(unwrapped, 1) == pytest.approx(4 * diffusion * 0.1, rel=0.06)


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_killed_simulation_goes_on_bit_for_bit(file, tmp_path, monkeypatch, checkpoint):
    options = {"set": ("fluid.temperature=300", "contacts=false")}
    whole = read_trajectory(run(file, tmp_path / "whole", **options).trajectory)
    if checkpoint:
        monkeypatch.setattr(simulation_module, "CHECKPOINT_SECONDS", 0.0)
    write = TrajectoryWriter.write
    left = [7]

    def killed(writer, frame):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return write(writer, frame)

    monkeypatch.setattr(TrajectoryWriter, "write", killed)
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(file, out, **options)
    monkeypatch.setattr(TrajectoryWriter, "write", write)
    assert len(read_trajectory(out / "trajectory.h5md")) == 6
    assert (out / "checkpoint.safetensors").exists() == checkpoint
    with pytest.raises(RunFolderError, match="resume it, or overwrite it"):
        run(file, out, **options)
    with pytest.raises(ConfigError, match="with these options has others"):
        run(file, out, resume=True)
    with pytest.raises(ConfigError, match="leave seed out"):
        run("", out, resume=True, seed=3)
    run("", out, resume=True)
    again = read_trajectory(out / "trajectory.h5md")
    for name in ("time", "step", "position", "velocity", "director"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))


def test_the_folder_of_a_simulation_is_a_world_file(file, tmp_path):
    first = run(file, tmp_path / "a", time=0.2, seed=5)
    again = load_simulation(first.path)
    assert again == load_simulation(file, (), {"time": 0.2, "seed": 5})
    assert again.run.seed == 5


def test_a_control_function_beside_the_file_sees_and_commands(file, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import jax.numpy as jnp\n"
        "from swarmctl.core.command import Command\n"
        "def up(state, space):\n"
        "    return Command(velocity=jnp.stack([0 * state.time * state.position[:, 0],\n"
        "                                       jnp.full(2, 2.0)], axis=-1))\n"
        "def text(state, space):\n"
        "    return 'up'\n"
        "def wrong(state, space):\n"
        "    return Command(speed=state.nothing)\n"
        "def field(state, space):\n"
        "    return Command(power=jnp.ones(2))\n"
    )
    file.write_text(WORLD.replace('speed = "3 um/s"', 'control = "mine.py:up"'))
    monkeypatch.chdir(tmp_path.parent)
    seen = read_trajectory(run(file, tmp_path / "run").trajectory)
    np.testing.assert_allclose(seen.position[-1] - seen.position[0], [[0, 2], [0, 2]], atol=1e-4)
    for name, error, words in (
        ("text", ConfigError, "class .str."),
        ("wrong", ConfigError, "nothing"),
        ("field", CapabilityError, "power"),
        ("none", ConfigError, "none"),
    ):
        file.write_text(WORLD.replace('speed = "3 um/s"', f'control = "mine.py:{name}"'))
        with pytest.raises(error, match=words):
            run(file, tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_a_field_drives_and_its_waveform_is_recorded(tmp_path):
    tables = {
        "box": {"size": [60, 60]},
        "fluid": {"temperature": 0},
        "time_step": "1 ms",
        "field": {"strength_max": "1 mT"},
        "species": [
            {
                "count": 1,
                "magnetic_moment": 1.0,
                "placement": {"region": "points", "positions": [[9, 9]], "directors": [[1, 0]]},
            }
        ],
        "run": {"time": "1 s", "drive": {"field": {"bias": ["0 T", "500 uT"]}}},
    }
    mover = make_mover(load_simulation(tables))
    state, asked, applied = mover.advance(mover.start())
    # γ_r dθ/dt = m B cos θ from θ = 0, so that sin θ = tanh(m B t/γ_r).
    world = mover.simulation.world
    turned = np.tanh(0.5 / world.rotational_friction(world.species[0]))
    assert mover.observe(state).director[0, 1] == pytest.approx(turned, rel=1e-3)
    channels = command_arrays(applied)
    np.testing.assert_array_equal(channels["field.bias"], np.float32([0, 0.5]))
    assert set(channels) == set(command_arrays(asked)) == set(FIELD_CHANNELS)


def test_chemicals_are_recorded_as_grids(tmp_path):
    tables = {
        "box": {"size": [60, 60]},
        "species": [{"count": 3}],
        "chemicals": [{"name": "a b", "spacing": 6, "secretion": 10, "diffusion": 10}],
        "run": {"time": "0.2 s", "every": "0.1 s"},
    }
    path = tmp_path / "world.json"
    simulation = load_simulation(tables)
    mover = make_mover(simulation)
    seen = mover.observe(mover.advance(mover.start())[0])
    named = simulation_module._chemicals(simulation, seen)
    assert {name: value.shape for name, value in named.items()} == {"chemical.a_b": (10, 10)}
    # 3 colloids, 10 a second each, for 0.1 s, on cells of 36 µm²
    assert float(named["chemical.a_b"].sum()) * 36 == pytest.approx(3.0, rel=1e-4)
    assert not path.exists()


MISTAKES = [
    ("size", "sise", UnknownNameError, r"world.toml: .*box.sise.*Did you mean 'size'"),
    ("[box]", "[bocks]", UnknownNameError, "'bocks'"),
    ('"60 um", "60 um"', '"60 s", "60 um"', UnitError, r"box.size\[0\]: '60 s' is a \[time\]"),
    ("2000 nm", "-2 um", ConfigError, "radius must be positive"),
    ('time = "1 s"', 'time = "1.05 s"', ConfigError, "time 1.05 s is 10.5 recorded frames.*1.1 s"),
    ('every = "0.1 s"', 'every = "0.12 s"', ConfigError, "every 0.12 s is 2.4 control intervals"),
    ('"0.05 s"', '"0.0505 s"', ConfigError, "is 50.5 time steps"),
    ('time = "1 s"', 'tme = "1 s"', UnknownNameError, "run.tme.*Did you mean 'time'"),
    ('"3 um/s"', '"9 um/s"', ConfigError, "speed 9 µm/s is not within 0 and 5 µm/s.*speed_max"),
    ('speed = "3 um/s"', "speed = [1, 2]", ConfigError, "2 values of speed for 1 species"),
    ('speed = "3 um/s"', "power = 1.0", ConfigError, "power 1 W/µm² is not within 0 and 0"),
    ('speed = "3 um/s"', "field = {}", ConfigError, r"no global field; add a table \[field\]"),
    ('speed = "3 um/s"', 'control = "x.py:f"\nspeed=1', ConfigError, "leave speed out"),
    ("[run]", "[run", ConfigError, "cannot be read as TOML"),
    ("[10, 10], [30, 40]", "[10, 10], [10, 12]", PlacementError, "overlap"),
    ("[run]", "[run]\nseed = -1", ConfigError, "seed must be at least 0"),
]


@pytest.mark.parametrize(("old", "new", "error", "words"), MISTAKES, ids=lambda v: str(v)[:24])
def test_a_mistake_is_named_before_anything_is_written(file, tmp_path, old, new, error, words):
    assert old in WORLD
    file.write_text(WORLD.replace(old, new, 1))
    with pytest.raises(error, match=words) as caught:
        run(file, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["world.toml"]


def test_limits_of_the_field_are_checked():
    tables = {"field": {"strength_max": "2 mT", "frequency_max": "5 Hz"}}
    for field, words in (
        ({"bias": [1, 1, 1]}, "bias has 3 entries in 2D"),
        ({"bias": [2, 0], "amplitude": [1, 0]}, "3 mT is above what .field. allows, 2 mT"),
        ({"frequency": "6 Hz"}, "frequency: 6 Hz is above"),
        ({"gradient": [[1, 0], [0, 1]]}, "gradient: 1.41421 mT/µm is above"),
        ({"gradient": [[1, 0], [0]]}, "2 rows of 2 numbers"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_simulation({**tables, "run": {"drive": {"field": field}}})


def test_no_world_and_contradicting_options():
    with pytest.raises(ConfigError, match="give a world file"):
        simulate(SimulateConfig())
    with pytest.raises(ConfigError, match=r"none.toml: no such world file"):
        simulate(SimulateConfig("none.toml"))
    for options, words in (
        ({"resume": True, "overwrite": True}, "exclude each other"),
        ({"formats": ("avi",)}, "format 'avi'; allowed: gif, mp4"),
        ({"pictures": 0}, "at least 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            SimulateConfig("world.toml", **options)


def test_what_lies_under_the_colloids_is_what_acts_on_them():
    simulation = load_simulation(
        {
            "box": {"size": [40, 20], "boundary": "open"},
            "flows": [{"kind": "shear", "rate": 0.5}],
            "potentials": [{"kind": "harmonic", "stiffness": 0.2}],
        }
    )
    points = np.array([[20.0, 10.0], [23.0, 14.0]])
    np.testing.assert_allclose(flow_function(simulation.world)(points), [[0, 0], [2, 0]], atol=1e-6)
    np.testing.assert_allclose(energy_function(simulation.world)(points), [0, 2.5], rtol=1e-5)
    empty = load_simulation({}).world
    assert flow_function(empty) is energy_function(empty) is None


def test_the_view_of_an_open_box_holds_all_that_was_visited():
    world = load_simulation({"box": {"size": [40, 20], "boundary": ["open", "periodic"]}}).world

    class Visited:
        position = np.array([[[-10.0, 3.0]], [[90.0, 5.0]]])
        bodies = None

    x_low, x_high, *rest = fitting_view(world, Visited())
    assert x_low < -11
    assert x_high > 91
    assert rest == [0.0, 20.0]
    assert fitting_view(load_simulation({}).world, Visited()) is None


@pytest.mark.parametrize("path", WORLDS, ids=lambda path: path.stem)
def test_example_worlds_can_be_run_as_they_are(path):
    simulation = load_simulation(path)
    assert simulation.run.title
    assert simulation.run != Run()
    # Checks the time step against every contact, traces the command, and places the colloids.
    make_mover(simulation)


def test_a_failing_motion_keeps_what_was_recorded(file, tmp_path):
    potential = "\n[[potentials]]\nkind = 'callable'\nfunction = 'u.py:u'\n"
    file.write_text(WORLD + potential)
    (tmp_path / "u.py").write_text(
        "import jax.numpy as jnp\n"
        "def u(position, time):\n"
        "    return jnp.where(time > 0.45, jnp.inf, 0.0) * position[0]\n"
    )
    with pytest.raises(SwarmctlError, match="not finite"):
        run(file, tmp_path / "run")
    assert len(read_trajectory(tmp_path / "run" / "trajectory.h5md")) == 5
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"
    shutil.rmtree(tmp_path / "run")


PLAIN = """
from swarmctl.core.contracts import Engine
from swarmctl.engines.jax_engine import JaxEngine


class Plain(Engine):
    \"\"\"An engine of which nobody knows that it is made of pure functions.\"\"\"

    def __init__(self, world, control_interval=0.1):
        self.engine = JaxEngine(world, control_interval)
        self.spec = self.engine.spec

    def reset(self, seed):
        return self.engine.reset(seed)

    def step(self, command):
        return self.engine.step(command)

    def stop(self, reason):
        self.engine.stop(reason)

    def close(self):
        self.engine.close()
"""


def test_any_engine_that_simulates_a_world_simulates_it(file, tmp_path, monkeypatch):
    """Without noise the engine does not matter; what it has done cannot be gone on with."""
    plain = tmp_path / "plain.py"
    plain.write_text(PLAIN)
    options = {"pictures": 2, "formats": (), "progress": False}
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    simulate(SimulateConfig(str(file), ours, **options), say=lambda text: None)
    engine = f"{plain}:Plain"
    said = []
    simulate(SimulateConfig(str(file), theirs, engine=engine, **options), say=said.append)
    assert "cannot be started from a state" in said[0]
    first, second = read_trajectory(ours), read_trajectory(theirs)
    np.testing.assert_array_equal(first.time, second.time)
    np.testing.assert_allclose(first.position, second.position, atol=1e-4)
    np.testing.assert_array_equal(first.applied["speed"][1:], second.applied["speed"][1:])
    with pytest.raises(ConfigError, match="Begin anew with --overwrite"):
        simulate(SimulateConfig(out=theirs, resume=True, **options), say=lambda text: None)
    with pytest.raises(ConfigError, match=r"does not simulate a world|is no simulation"):
        simulate(SimulateConfig(str(file), tmp_path / "x", engine="link", **options))

    def interrupted(self, state):
        raise KeyboardInterrupt

    monkeypatch.setattr("swarmctl.training.movers.EngineMover.advance", interrupted)
    config = SimulateConfig(str(file), theirs, engine=engine, overwrite=True, **options)
    with pytest.raises(KeyboardInterrupt, match=r"trajectory.h5md holds what was simulated"):
        simulate(config, say=said.append)
    assert len(read_trajectory(theirs)) == 1


PURE = """
from swarmctl.engines.jax_engine import JaxEngine


class Mine(JaxEngine):
    \"\"\"An engine of one's own, made of pure functions.\"\"\"
"""


def test_an_engine_of_pure_functions_of_ones_own_can_be_gone_on_with(file, tmp_path, monkeypatch):
    """The checkpoint of every frame is read again; the end is that of a whole simulation."""
    mine = tmp_path / "mine.py"
    mine.write_text(PURE)
    options = {"pictures": 2, "formats": (), "progress": False}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    simulate(SimulateConfig(str(file), whole, **options), say=lambda text: None)
    advance, left = PureMover.advance, [3]

    def interrupted(self, state):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return advance(self, state)

    monkeypatch.setattr("swarmctl.training.simulate.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(PureMover, "advance", interrupted)
    said = []
    config = SimulateConfig(str(file), cut, engine=f"{mine}:Mine", **options)
    with pytest.raises(KeyboardInterrupt):
        simulate(config, say=said.append)
    assert said == []
    simulate(SimulateConfig(out=cut, resume=True, **options), say=lambda text: None)
    first, second = read_trajectory(whole), read_trajectory(cut)
    np.testing.assert_array_equal(first.time, second.time)
    np.testing.assert_array_equal(first.position, second.position)
