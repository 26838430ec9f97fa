"""Laboratories with hidden numbers: simulated recordings to try system identification on.

Every laboratory draws its numbers; all of them are simulated in one batch on the JAX engine, which
moves in intervals a few times shorter than those between frames, so that delays need not be whole
frames. Colloids pass through one another: dilute recordings are meant.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.agents.classical.excite import ExciteConfig
from swarmctl.core.actuator import Actuator
from swarmctl.core.contracts import AgentInputs
from swarmctl.core.disturbances import Disturbances, Losses
from swarmctl.core.randomise import Randomise, SpeciesRange, Uniform, middle_world
from swarmctl.core.spec import AgentSpec, Discrete
from swarmctl.core.world import Box, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.physics.randomised import draw_numbers, drawn_axes, with_numbers
from swarmctl.records.trajectory import Trajectory

Array = jax.Array

MOTION = Randomise(
    species=(
        SpeciesRange(
            speed_gain=Uniform(0.6, 1.3),
            turn_gain=Uniform(0.6, 1.3),
            diffusion=Uniform(0.05, 0.2),
            rotational_diffusion=Uniform(0.01, 0.08),
        ),
    ),
    delay=Uniform(0.02, 0.5),
    drift=(Uniform(-0.5, 0.5), Uniform(-0.5, 0.5)),
    position_noise=Uniform(0.02, 0.1),
    heading_noise=Uniform(0.02, 0.15),
)
"""Laboratories that take speeds and turn rates; every other one turns the other way."""
LIGHT = dataclasses.replace(
    MOTION,
    species=(
        SpeciesRange(
            slope=Uniform(1.0, 2.0),
            threshold=Uniform(0.2, 0.6),
            speed_max=Uniform(1.5, 2.5),
            steering=Uniform(0.3, 0.6),
            diffusion=Uniform(0.05, 0.2),
            rotational_diffusion=Uniform(0.01, 0.08),
        ),
    ),
)
"""Laboratories that light drives."""


@dataclass(frozen=True)
class HiddenLabs:
    """How laboratories are recorded.

    Attributes:
        randomise: what their numbers are drawn from.
        light: whether light drives the colloids.
        colloids, fewest: in the field of view at most, and at least.
        time, shortest: s, length of a recording at most, and at least.
        frame: s between frames. parts: control intervals in it.
        lose_rate, find_rate: 1/s.
    """

    randomise: Randomise = MOTION
    light: bool = False
    colloids: int = 40
    fewest: int = 20
    time: float = 240.0
    shortest: float = 120.0
    frame: float = 0.1
    parts: int = 5
    lose_rate: float = 0.01
    find_rate: float = 0.2
    radius: float = 2.0

    @property
    def interval(self) -> float:
        """Control interval in s."""
        return self.frame / self.parts

    def world(self) -> World:
        """The world with the middle of all numbers."""
        species = Species(
            count=self.colloids,
            radius=self.radius,
            speed_max=3.0,
            turn_rate_max=2.0,
            actuator=Actuator(power_max=2.5, offset_max=2.0) if self.light else None,
        )
        losses = Losses(self.lose_rate, self.find_rate)
        world = World(
            Box((400.0, 400.0)),
            species=(species,),
            time_step=self.interval,
            contacts=False,
            disturbances=Disturbances(losses=losses),
        )
        return middle_world(world, self.randomise, self.interval)


def record_labs(
    labs: HiddenLabs, count: int, seed: int = 0
) -> tuple[list[dict[str, float]], list[Trajectory]]:
    """Simulate `count` laboratories; return the truth, by the names of identified quantities, and
    what was recorded of each: only what a tracker would know, with the commands as requested.
    """
    world = labs.world()
    engine = JaxEngine(world, labs.interval)
    base, dtype = engine.params(), engine.spec.dtype
    keys = jax.random.split(jax.random.key(seed), (2, count))
    draw = jax.jit(jax.vmap(lambda key: draw_numbers(key, world, labs.randomise, dtype)))
    numbers = {name: np.array(value) for name, value in draw(keys[0]).items()}
    # Whole intervals: a mixture of two would be a delay that jitters.
    numbers["delay"] = np.round(numbers["delay"] / labs.interval) * labs.interval
    if "0.turn_gain" in numbers:
        numbers["0.turn_gain"][1::2] *= -1
    axes = drawn_axes(base, world, labs.randomise, labs.interval)

    @jax.jit
    def run(keys: Array, numbers: Any) -> dict[str, Array]:
        put = partial(with_numbers, base, world=world, interval=labs.interval)
        params = jax.vmap(put, out_axes=axes)(numbers)
        return jax.vmap(partial(_record, labs, engine), (0, axes))(keys, params)

    recorded = jax.tree.map(np.asarray, run(keys[1], numbers))
    size = np.random.default_rng(seed)
    truths, trajectories = [], []
    for lab in range(count):
        truths.append(_truth({name: float(value[lab]) for name, value in numbers.items()}))
        colloids = int(size.integers(labs.fewest, labs.colloids + 1))
        frames = int(size.uniform(labs.shortest, labs.time) / labs.frame) + 1
        part = {name: value[lab, :frames] for name, value in recorded.items()}
        trajectories.append(_trajectory(labs, part, colloids))
    return truths, trajectories


def _truth(numbers: dict[str, float]) -> dict[str, float]:
    names = {"drift.0": "drift_x", "drift.1": "drift_y"}
    return {names.get(name, name.removeprefix("0.")): value for name, value in numbers.items()}


def _record(labs: HiddenLabs, engine: JaxEngine, key: Array, params: Any) -> dict[str, Array]:
    """What is seen of one laboratory, leaves [T+1,...]."""
    spec = dataclasses.replace(engine.spec, control_interval=labs.frame)
    where = AgentSpec("HiddenLab", 0, (), Discrete(1), ("none",), spec)
    agent = ExciteConfig(
        drive="light" if labs.light else "motion", turn_rate=None if labs.light else 1.5
    ).build(where)
    space = engine.space(params)
    start, loop = jax.random.split(key)

    def look(state: Any) -> dict[str, Array]:
        seen = engine.observe_state(state, params)
        return {
            "position": seen.unwrapped(space),
            "director": seen.director,
            "present": seen.present,
            "identity": seen.identity,
        }

    def frame(carry: Any, key: Array) -> Any:
        state, memory = carry
        act_key, move_key = jax.random.split(key)
        seen = engine.observe_state(state, params)
        inputs = AgentInputs(seen, jnp.zeros((seen.capacity, 0)), space)
        command, memory = agent.act(inputs, memory, act_key)

        def move(state: Any, key: Array) -> Any:
            return engine.advance(key, state, command, params)[0], None

        state, _ = jax.lax.scan(move, state, jax.random.split(move_key, labs.parts))
        asked = {name: getattr(command, name) for name in sorted(command.channels)}
        return (state, memory), {**look(state), **asked}

    state = engine.init(start, params)
    frames = math.ceil(labs.time / labs.frame)
    first = look(state)
    _, rest = jax.lax.scan(frame, (state, agent.init_memory(where)), jax.random.split(loop, frames))
    # No command led to the first frame.
    blank = {name: jnp.full_like(rest[name][0], jnp.nan) for name in rest.keys() - first.keys()}
    return jax.tree.map(
        lambda one, more: jnp.concatenate([one[None], more]), {**first, **blank}, rest
    )


def _trajectory(labs: HiddenLabs, part: dict[str, np.ndarray], colloids: int) -> Trajectory:
    part = {name: value[:, :colloids] for name, value in part.items()}
    present = part["present"]
    shape, frames = present.shape, np.arange(len(present))
    hidden = ~present[..., None]
    position = np.where(hidden, np.nan, part["position"])
    channels = part.keys() - {"position", "director", "present", "identity"}
    return Trajectory(
        frame=frames,
        time=frames * labs.frame,
        step=frames,
        episode=np.zeros(len(frames), np.int32),
        position=position,
        velocity=np.full_like(position, np.nan),
        director=np.where(hidden, np.nan, part["director"]),
        identity=np.where(present, part["identity"], -1),
        species=np.zeros(shape, np.int32),
        present=present,
        oriented=present,
        controllable=np.ones(shape, bool),
        reward=np.full(shape, np.nan),
        requested={name: part[name] for name in sorted(channels)},
        applied={},
        observables={},
        size=np.array([400.0, 400.0]),
        periodic=(True, True),
        units={},
        metadata={"control_interval": labs.frame},
    )
