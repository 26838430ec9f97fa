"""Classical controllers: what each of them does by its definition."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.agents.classical.steering import best_acceptance
from swarmctl.agents.options import make_agent
from swarmctl.core.contracts import AgentInputs
from swarmctl.core.errors import CapabilityError, ConfigError, UnknownNameError
from swarmctl.core.spec import AgentSpec, Continuous, Discrete, EngineSpec
from swarmctl.core.state import Space, SwarmState

LEFT, SWIM, RIGHT, REST = range(4)
NAMES = ("turn left", "swim", "turn right", "rest")
SEEN = ("field change", "forward speed", "turn rate")
SPACE = Space(jnp.asarray([100.0, 100.0]), (True, True))


def spec_for(count: int, space: Any = Discrete(4), actions: Any = NAMES) -> AgentSpec:  # noqa: B008
    engine = EngineSpec(
        name="none",
        capacity=count,
        dimension=2,
        dtype="float32",
        species=("colloid",),
        species_of_slot=(0,) * count,
        radius=(1.0,),
        speed_min=(0.0,),
        speed_max=(2.0,),
        turn_rate_max=(np.pi,),
        box=(100.0, 100.0),
        periodic=(True, True),
        control_interval=0.2,
        capabilities=frozenset({"speed", "turn_rate"}),
    )
    return AgentSpec("Test-v0", len(SEEN), SEEN, space, actions, engine)


def inputs_for(observation: Any, position: Any = None, angle: Any = None) -> AgentInputs:
    observation = jnp.asarray(observation, jnp.float32)
    n = len(observation)
    angle = jnp.zeros(n) if angle is None else jnp.asarray(angle, jnp.float32)
    every = jnp.ones(n, bool)
    state = SwarmState(
        position=jnp.zeros((n, 2)) if position is None else jnp.asarray(position, jnp.float32),
        image=jnp.zeros((n, 2), jnp.int32),
        director=jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1),
        velocity=jnp.zeros((n, 2)),
        angular_velocity=jnp.zeros(n),
        species=jnp.zeros(n, jnp.int32),
        identity=jnp.arange(n, dtype=jnp.int32),
        present=every,
        oriented=every,
        controllable=every,
        bodies=None,
        step=jnp.asarray(0, jnp.int32),
        time=jnp.asarray(0.0),
        interval=jnp.asarray(0.2),
    )
    return AgentInputs(state, observation, SPACE)


KEY = jax.random.key(0)


def test_random_actions_are_uniform() -> None:
    """χ² of 40 000 draws over 4 actions; 16.3 is the 0.1 % quantile for 3 degrees of freedom."""
    n = 40_000
    agent = make_agent("random", spec_for(n))
    action, _ = agent.act(inputs_for(np.zeros((n, 3))), (), jax.random.key(12))
    counts = np.bincount(np.asarray(action), minlength=4)
    assert counts.sum() == n
    assert ((counts - n / 4) ** 2 / (n / 4)).sum() < 16.3


def test_random_continuous_actions_are_uniform_and_independent() -> None:
    """Mean 0, variance 1/3, no correlation, each within four standard errors."""
    n = 20_000
    agent = make_agent("random", spec_for(n, Continuous(2), ("speed", "turn rate")))
    action = np.asarray(agent.act(inputs_for(np.zeros((n, 3))), (), jax.random.key(3))[0], float)
    assert np.abs(action).max() <= 1
    error = 4 / n**0.5
    assert np.all(np.abs(action.mean(0)) < error * 3**-0.5)
    assert np.all(np.abs((action**2).mean(0) - 1 / 3) < error * (4 / 45) ** 0.5)
    assert abs((action[:, 0] * action[:, 1]).mean()) < error / 3


def test_constant_repeats_its_action_and_refuses_what_the_scenario_lacks() -> None:
    agent = make_agent("constant", spec_for(5), action="turn right")
    assert agent.act(inputs_for(np.zeros((5, 3))), (), KEY)[0].tolist() == [RIGHT] * 5
    with pytest.raises(ConfigError, match=r"no action 'fly'.*turn left"):
        make_agent("constant", spec_for(5), action="fly")
    continuous = spec_for(5, Continuous(2), ("speed", "turn rate"))
    with pytest.raises(ConfigError, match="2 numbers"):
        make_agent("constant", continuous, action=[0.1, 0.2, 0.3])
    with pytest.raises(ConfigError, match=r"\[-1, 1\]"):
        make_agent("constant", continuous, action=[0.1, 1.5])
    with pytest.raises(UnknownNameError, match="Did you mean 'constant'"):
        make_agent("constnt", spec_for(5))


def test_controllers_refuse_observations_and_actions_that_they_cannot_use() -> None:
    blind = dataclasses.replace(spec_for(2), observation_names=("a", "b", "c"))
    for name in ("run-and-tumble", "gradient-climber"):
        with pytest.raises(CapabilityError, match="needs the observation"):
            make_agent(name, blind)
    other = spec_for(2, Discrete(2), ("go", "stop"))
    with pytest.raises(CapabilityError, match="needs the actions"):
        make_agent("steer-to-source", other)


def test_run_and_tumble_runs_while_the_field_rises() -> None:
    n = 50
    agent = make_agent("run-and-tumble", spec_for(n))
    memory = agent.init_memory(spec_for(n))
    for i in range(20):
        key = jax.random.fold_in(KEY, i)
        action, memory = agent.act(inputs_for(np.full((n, 3), 0.3)), memory, key)
        assert np.all(np.asarray(action) == SWIM)


def test_run_and_tumble_tumbles_when_it_falls_for_one_to_five_decisions_to_either_side() -> None:
    """All lengths are equally likely (χ² below its 0.1 % quantile, 18.5 at 4 degrees of
    freedom), sides too.
    """
    n, longest = 4000, 5
    agent = make_agent("run-and-tumble", spec_for(n), longest=longest)
    memory = agent.init_memory(spec_for(n))
    _, memory = agent.act(inputs_for(np.full((n, 3), 0.3)), memory, jax.random.key(1))
    actions = []
    for i in range(longest + 1):
        key = jax.random.fold_in(KEY, i)
        action, memory = agent.act(inputs_for(np.full((n, 3), -0.3)), memory, key)
        actions.append(np.asarray(action))
    rows = np.stack(actions)
    running = rows == SWIM
    length = np.argmax(running, axis=0)
    assert running.any(axis=0).all()
    counts = np.bincount(length, minlength=longest + 1)
    assert counts[0] == 0
    assert ((counts[1:] - n / 5) ** 2 / (n / 5)).sum() < 18.5
    for row in range(n):
        assert len(set(rows[: length[row], row])) == 1, "a tumble keeps its side"
    left = (rows[0] == LEFT).sum()
    assert abs(left - n / 2) < 4 * (n / 4) ** 0.5
    assert ((rows[0] == LEFT) | (rows[0] == RIGHT)).all()


def test_gradient_climber_s_estimate_converges_to_the_true_gradient_in_a_linear_field() -> None:
    """Colloids that swim and turn at random in f = g·r know g in their own frame, without noise
    to within 1 %.
    """
    n, steps, path = 40, 200, 0.4
    spec = spec_for(n)
    agent = make_agent("gradient-climber", spec, forgetting=0.0, noise=1e-4)
    rng = np.random.default_rng(4)
    gradient = rng.normal(size=(n, 2)) * 0.5
    angle = rng.uniform(-np.pi, np.pi, n)
    memory = agent.init_memory(spec)
    act = jax.jit(agent.act)
    for _ in range(steps):
        turned = rng.uniform(-1, 1, n)
        angle = angle + turned * np.pi * 0.2
        swum = rng.uniform(0, 1, n)
        along = np.stack([np.cos(angle), np.sin(angle)], -1)
        change = swum * (gradient * along).sum(-1)
        _, memory = act(inputs_for(np.stack([change, swum, turned], -1)), memory, KEY)
    across = np.stack([-np.sin(angle), np.cos(angle)], -1)
    own = np.stack([(gradient * along).sum(-1), (gradient * across).sum(-1)], -1)
    error = np.linalg.norm(np.asarray(memory[0]) - own, axis=-1)
    assert np.all(error < 0.01 * np.linalg.norm(gradient, axis=-1) + 1e-3)
    covariance = np.asarray(memory[1])
    determinant = covariance[:, 0] * covariance[:, 2] - covariance[:, 1] ** 2
    assert np.all(covariance[:, [0, 2]] > 0)
    assert np.all(determinant > 0), "the covariance stays positive"
    assert np.all(covariance[:, [0, 2]] < 0.01), "it becomes certain"
    assert path < 1


def test_gradient_climber_turns_towards_its_estimate() -> None:
    spec = spec_for(3)
    agent = make_agent("gradient-climber", spec, acceptance=0.5)
    estimate = jnp.asarray([[1.0, 0.1], [0.1, 1.0], [0.1, -1.0]])
    memory = (estimate, agent.init_memory(spec)[1])
    action, _ = agent.act(inputs_for(np.zeros((3, 3))), memory, KEY)
    assert action.tolist() == [SWIM, LEFT, RIGHT]


@pytest.mark.parametrize(
    ("angle", "wanted"), [(0.0, SWIM), (0.25, SWIM), (0.4, RIGHT), (3.0, RIGHT), (-3.0, LEFT)]
)
def test_oracle_turns_the_short_way(angle: float, wanted: int) -> None:
    """The source lies to the right (+x); half of what a decision turns is 0.314 rad."""
    agent = make_agent("steer-to-source", spec_for(1))
    seen = inputs_for(np.zeros((1, 3)), [[20.0, 50.0]], [angle])
    assert agent.act(seen, (), KEY)[0].tolist() == [wanted]


def test_oracle_goes_across_the_periodic_face_if_that_is_shorter() -> None:
    agent = make_agent("steer-to-source", spec_for(1), source=[5.0, 50.0])
    seen = inputs_for(np.zeros((1, 3)), [[90.0, 50.0]], [0.0])
    assert agent.act(seen, (), KEY)[0].tolist() == [SWIM]


def test_oracle_rests_on_arrival() -> None:
    agent = make_agent("steer-to-source", spec_for(2), arrival=2.0)
    seen = inputs_for(np.zeros((2, 3)), [[49.0, 50.0], [45.0, 50.0]], [0.0, 0.0])
    assert agent.act(seen, (), KEY)[0].tolist() == [REST, SWIM]


@pytest.mark.parametrize(
    ("kappa", "angle", "drift"),
    [(0.5, 1.340, 0.3852), (1, 1.170, 0.4534), (5, 0.770, 0.7177), (25, 0.478, 0.8880)],
)
def test_best_acceptance_angle_of_a_swimmer_that_swims_or_turns(
    kappa: float, angle: float, drift: float
) -> None:
    """θ* maximises sin θ/[θ + (1 - e^(-κ(π-θ)))/κ]; values to the digits given."""
    found = best_acceptance(kappa)
    assert found == pytest.approx(angle, abs=6e-4)
    value = np.sin(found) / (found + (1 - np.exp(-kappa * (np.pi - found))) / kappa)
    assert value == pytest.approx(drift, abs=6e-5)


def test_best_acceptance_refuses_what_is_no_ratio() -> None:
    for kappa in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="positive"):
            best_acceptance(kappa)
