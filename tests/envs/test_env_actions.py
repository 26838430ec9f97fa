"""Kinds of actions: discrete and continuous, each colloid's own or one field for all."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.classical.moves import moves_for
from swarmctl.core import registry
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.spec import Continuous
from swarmctl.core.world import Box, Fluid, GlobalField, Placement, Species, World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.envs.fields import AlignBy, RollBy, Votes
from swarmctl.envs.make import make_env
from swarmctl.envs.reach_goal import ReachGoalFieldConfig
from swarmctl.training.evaluate import evaluate_agent, find_agent

TURNING = (
    "Forage-v0",
    "FormShape-v0",
    "Gather-v0",
    "Maze-v0",
    "PredatorPrey-v0",
    "RotateRod-v0",
    "SpeciesSearch-v0",
    "TransportRod-v0",
)


@pytest.mark.parametrize("name", TURNING)
def test_continuous_actions_can_do_what_discrete_ones_do(name: str) -> None:
    """The same moves, as discrete and as continuous actions, are the same commands."""
    kinds = {kind: make_env(name, actions=kind) for kind in ("discrete", "continuous")}
    count = kinds["discrete"].engine.spec.capacity
    swimming = jnp.arange(count) % 2 == 0
    turning = jnp.arange(count) % 3 - 1
    commands = []
    for env in kinds.values():
        action = moves_for(env.spec).action(swimming & (turning == 0), turning)
        commands.append(env.scenario.actions.to_command(action, env.engine.spec))
    discrete, continuous = (jax.tree.map(np.asarray, command) for command in commands)
    assert isinstance(kinds["continuous"].spec.action_space, Continuous)
    assert discrete.speed.any()
    assert discrete.turn_rate.any()
    assert continuous.speed == pytest.approx(discrete.speed)
    assert continuous.turn_rate == pytest.approx(discrete.turn_rate)


def test_headings_in_a_flow_are_discrete_or_any() -> None:
    env = make_env("NavigateFlow-v0", actions="continuous")
    assert env.spec.action_space == Continuous(2)
    assert env.scenario.actions.channels == {"speed", "heading"}


def rollers(count: int, temperature: float = 0.0) -> JaxEngine:
    """Rollers that reach 3 µm/s in a field of 5 mT and 1 Hz."""
    keys = ReachGoalFieldConfig(speed=3.0, frequency=1.0, temperature=300.0)
    roller = dataclasses.replace(
        keys.swimmer(), count=count, placement=Placement("ball", radius=20.0)
    )
    world = World(
        Box((100.0, 100.0), "open"),
        Fluid(temperature=temperature),
        (roller,),
        time_step=2e-3,
        contacts=False,
        field=GlobalField(strength_max=5.0, frequency_max=1.0),
    )
    return JaxEngine(world, control_interval=0.5)


@pytest.mark.parametrize("votes", [Votes(8), Votes(None)], ids=["discrete", "continuous"])
def test_rollers_go_where_the_mean_vote_points(votes: Votes) -> None:
    """Unanimous votes drive all at full speed; votes of two against one that they oppose at a
    third; opposite votes stop them. Without noise, to 0.1 %.
    """
    engine = rollers(3)
    actions = RollBy(jnp.asarray(5.0), jnp.asarray(1.0), votes)

    def vote(*angles: float) -> jax.Array:
        if votes.directions is None:
            return jnp.asarray([[math.cos(a), math.sin(a)] for a in angles])
        return jnp.asarray([round(a / (math.pi / 4)) % 8 for a in angles])

    def velocity(action: jax.Array, active: tuple[bool, ...] = (True, True, True)) -> np.ndarray:
        state = engine.reset(0)
        command = actions.swarm_command(action, jnp.asarray(active), engine.spec)
        moved = engine.step(command).state
        return (np.asarray(moved.position) - np.asarray(state.position)) / 0.5

    quarter = math.pi / 4
    diagonal = 3 * math.sqrt(0.5)
    assert velocity(vote(quarter, quarter, quarter)) == pytest.approx(
        np.full((3, 2), diagonal), rel=1e-3
    )
    assert velocity(vote(0, 0, math.pi)) == pytest.approx(
        np.broadcast_to([1.0, 0.0], (3, 2)), abs=2e-3
    )
    assert velocity(vote(0, math.pi, 0), (True, True, False)) == pytest.approx(
        np.zeros((3, 2)), abs=1e-3
    )
    assert velocity(vote(0, -2 * quarter, 0), (False, True, False)) == pytest.approx(
        np.broadcast_to([0.0, -3.0], (3, 2)), abs=3e-3
    )


def test_a_field_turns_moments_as_the_sine_of_the_angle() -> None:
    """θ̇ = (m B/γ_r) sin(α - θ) has tan((α - θ)/2) = tan((α - θ₀)/2) e^(-m B t/γ_r), to 0.5 %;
    those that are out of the episode turn, too, but do not swim.
    """
    moment, strength, friction = 0.4, 2.0, 1.0
    swimmer = Species(
        count=6,
        radius=1.0,
        rotational_friction=friction,
        magnetic_moment=moment,
        speed_max=5.0,
        placement=Placement("ball", radius=20.0),
    )
    world = World(
        Box((100.0, 100.0), "open"),
        Fluid(temperature=0.0),
        (swimmer,),
        time_step=1e-3,
        contacts=False,
        field=GlobalField(strength_max=5.0),
    )
    engine = JaxEngine(world, control_interval=1.0)
    actions = AlignBy(jnp.asarray(strength), jnp.asarray(5.0), Votes(4))
    before = engine.reset(3)
    active = jnp.asarray([True] * 5 + [False])
    after = engine.step(actions.swarm_command(jnp.ones(6, jnp.int32), active, engine.spec)).state

    def to_field(director: jax.Array) -> np.ndarray:
        n = np.asarray(director, float)
        return np.arctan2(n[:, 0], n[:, 1])

    wanted = np.tan(to_field(before.director) / 2) * math.exp(-moment * strength / friction)
    assert np.tan(to_field(after.director) / 2) == pytest.approx(wanted, rel=5e-3)
    moved = np.linalg.norm(np.asarray(after.position - before.position), axis=1)
    assert moved[:5].min() > 1
    assert moved[5] == 0


def test_rolling_straight_to_a_goal_takes_the_time_of_the_formula() -> None:
    """As `steer-to-point` with headings: within 2 % of `optimum`."""
    env = make_env("ReachGoalField-v0")
    result = evaluate_agent(env, find_agent("roll-to-point", env), episodes=1024)
    there = result.measure <= 2.0
    assert there.any(axis=1).all()
    time = 0.1 * (there.argmax(axis=1) + 1).mean()
    assert time == pytest.approx(ReachGoalFieldConfig().optimum(), rel=0.02)


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        Votes(1)
    box = {"box": Box((50.0, 50.0, 50.0))}
    engine = JaxEngine(World(**box, field=GlobalField()), control_interval=0.1)
    with pytest.raises(CapabilityError, match="3D"):
        RollBy(jnp.asarray(1.0), jnp.asarray(1.0)).check(engine.spec)
    env = make_env("ReachGoal-v0")
    with pytest.raises(CapabilityError, match="field"):
        find_agent("roll-to-point", env)
    assert "ReachGoalField-v0" in registry.scenarios
