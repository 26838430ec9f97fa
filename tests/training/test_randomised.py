"""Domain randomisation: every swarm has parameters of its own, from the right distribution."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.config import build, dump_toml, to_dict
from swarmctl.core.errors import ConfigError, UnknownNameError
from swarmctl.core.randomise import Lognormal, Normal, Randomise, SpeciesRange, middle_world
from swarmctl.envs.make import make_env
from swarmctl.training.evaluate import evaluate_agent
from swarmctl.training.experiment import Experiment, load_experiment
from swarmctl.training.randomised import draw_env_params, drawn_params, env_axes
from swarmctl.training.train import make_learner

WIDE: dict[str, Any] = {
    "delay": {"kind": "uniform", "low": 0.05, "high": 0.45},
    "drift": [{"kind": "normal", "mean": 0.3, "deviation": 0.1}, 0.0],
    "position_noise": {"kind": "lognormal", "median": 0.05, "spread": 0.2},
    "species": [
        {
            "speed_gain": {"kind": "normal", "mean": 0.8, "deviation": 0.05},
            "turn_gain": -1.0,
            "diffusion": {"kind": "lognormal", "median": 0.2, "spread": 0.3},
            "rotational_diffusion": {"kind": "lognormal", "median": 0.03, "spread": 0.1},
        }
    ],
}
TABLES: dict[str, Any] = {
    "scenario": {"name": "Chemotaxis-v0", "colloids": 3, "horizon": 16, "time_step": 2e-3},
    "agent": {"name": "ppo", "swarms": 8, "rollout": 8, "minibatches": 2, "hidden": [8]},
    "training": {"updates": 4, "checkpoint_every": 1},
    "randomise": WIDE,
}


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return load_experiment(TABLES)


@pytest.fixture(scope="module")
def drawn(experiment: Experiment) -> Any:
    """Parameters of 4000 swarms."""
    env = experiment.env()
    keys = jax.random.split(jax.random.key(0), 4000)
    assert experiment.randomise is not None
    return draw_env_params(env, env.params(), experiment.randomise, keys).engine


def test_numbers_have_their_distribution(drawn: Any) -> None:
    """Means and deviations of normal and of logarithms of lognormal numbers, cut at 3 deviations,
    where a normal number keeps 0.9866 of its deviation.
    """
    cut = 0.9866
    gain = np.asarray(drawn.speed_gain)[:, 0]
    assert (gain.mean(), gain.std()) == pytest.approx((0.8, 0.05 * cut), rel=0.03)
    assert abs(gain - 0.8).max() <= 0.15 + 1e-6
    logarithm = np.log(np.asarray(drawn.thermal_energy / drawn.friction)[:, 0])
    assert logarithm.mean() == pytest.approx(math.log(0.2), abs=0.02)
    assert logarithm.std() == pytest.approx(0.3 * cut, rel=0.04)
    assert np.asarray(drawn.turn_gain).tolist() == np.full((4000, 3), -1.0).tolist()
    velocity = np.asarray(drawn.disturbances.drift.velocity)
    assert velocity.std(axis=0) == pytest.approx([0.1 * cut, 0], abs=0.004)


def test_delay_is_right_on_average(drawn: Any) -> None:
    """A delay τ is a mixture of the two next numbers k of intervals, so that Σ k p_k = τ/Δ."""
    weights = np.asarray(drawn.disturbances.delay)
    assert weights.shape == (4000, 4)
    assert weights.sum(axis=1) == pytest.approx(1)
    late = weights @ np.arange(4) * 0.2
    assert (late.min(), late.max()) == pytest.approx((0.05, 0.45), abs=0.002)
    assert late.mean() == pytest.approx(0.25, abs=0.01)
    assert ((weights > 0).sum(axis=1) <= 2).all()


def test_only_what_is_drawn_is_mapped(experiment: Experiment) -> None:
    """What is the same for all swarms stays one array, and is not copied for each."""
    env = experiment.env()
    axes = env_axes(env, experiment.randomise).engine
    assert (axes.friction, axes.speed_gain, axes.disturbances.delay) == (0, 0, 0)
    assert (axes.size, axes.radius, axes.speed_max, axes.thermal_energy) == (None,) * 4
    assert env_axes(env, None) is None


def test_world_has_the_middle(experiment: Experiment) -> None:
    world = experiment.built().world
    species = world.species[0]
    assert (species.speed_gain, species.turn_gain) == (0.8, -1.0)
    assert world.diffusion(species) == pytest.approx(0.2)
    assert world.rotational_diffusion(species) == pytest.approx(0.03)
    assert world.disturbances is not None
    assert world.disturbances.drift is not None
    assert world.disturbances.drift.velocity == (0.3, 0.0)
    assert world.disturbances.delay is not None
    assert world.disturbances.delay.distribution == pytest.approx((0, 0.75, 0.25, 0))


def test_swarms_move_by_their_own_numbers(experiment: Experiment) -> None:
    """Straight swimmers without noise go gain x speed x time, each swarm with its own gain."""
    entry = SpeciesRange(speed_gain=Normal(1.0, 0.1))
    randomise = Randomise(species=(entry,))
    tables = TABLES | {"scenario": TABLES["scenario"] | {"temperature": 0.0}, "randomise": {}}
    env = load_experiment(tables).env()
    params = draw_env_params(env, env.params(), randomise, jax.random.split(jax.random.key(1), 5))
    keys = jax.random.split(jax.random.key(2), 5)
    axes = env_axes(env, randomise)

    @jax.jit
    def swum(keys: Any, params: Any) -> Any:
        _, states = jax.vmap(env.reset, (0, axes))(keys, params)
        swim = jnp.ones((5, 3), jnp.int32)
        return jax.vmap(env.step, (0, 0, 0, axes))(keys, states, swim, params)[1]

    moved = swum(keys, params)
    speed = np.linalg.norm(np.asarray(moved.engine.velocity), axis=-1)
    gains = np.asarray(params.engine.speed_gain)
    assert speed == pytest.approx(2.0 * gains, rel=1e-4)
    assert np.unique(gains[:, 0]).size == 5


def test_a_swarm_keeps_its_numbers_for_an_episode(experiment: Experiment) -> None:
    """An episode has two rollouts here, and half of the swarms begin in the middle of one."""
    env, config = experiment.env(), experiment.agent

    @jax.jit
    def draw(seed: Any, update: Any) -> Any:
        params = drawn_params(env, env.params(), experiment.randomise, config, seed, update)
        return params.engine.speed_gain[:, 0]

    def gains(seed: int, update: int) -> Any:
        return np.asarray(draw(np.uint32(seed), np.int32(update)))

    first, second, third = (gains(0, update) for update in range(3))
    assert (first == second).tolist() == [True, False] * 4
    assert (second == third).tolist() == [False, True] * 4
    assert np.unique(first).size == 8
    assert not (gains(1, 0) == first).any()
    assert gains(0, 1).tolist() == second.tolist()


def test_an_update_depends_on_state_and_seed_alone() -> None:
    """What a checkpoint holds is enough to go on bit for bit.

    What was learned is scored on held-out parameters, equal ones for equal seeds.
    """
    gains = {"species": [{"speed_gain": WIDE["species"][0]["speed_gain"]}]}
    experiment = load_experiment(TABLES | {"randomise": gains})
    learner = make_learner(experiment)
    state, _ = learner.update(learner.init(3), 3)
    kept = jax.tree.map(np.array, state)
    after, figures = learner.update(state, 3)
    again, _ = learner.update(jax.tree.map(jnp.asarray, kept), 3)
    assert not figures["failed"]
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(again), strict=True):
        assert np.array_equal(a, b)

    env, policy = experiment.env(), learner.agent(after)
    first, same, other = (
        evaluate_agent(env, policy, 6, seed, randomise=experiment.randomise).returns
        for seed in (1, 1, 2)
    )
    assert first.tolist() == same.tolist()
    assert first.tolist() != other.tolist()
    assert np.isfinite(first).all()


def test_a_run_folder_keeps_it(tmp_path: Path, experiment: Experiment) -> None:
    (tmp_path / "config.toml").write_text(dump_toml(experiment.tables()))
    assert load_experiment(tmp_path) == experiment
    assert json.loads(json.dumps(experiment.tables())) == experiment.tables()


def test_written_and_read_again() -> None:
    made = build(Randomise, WIDE)
    assert isinstance(made.species[0].diffusion, Lognormal)
    assert build(Randomise, to_dict(made)) == made


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"delay": {"kind": "normal", "mean": 0.1, "deviation": 0.1}}, "delay can be -0.2"),
        ({"species": [{"diffusion": -1.0}]}, "diffusion can be -1"),
        ({"species": [{"speed_gain": {"kind": "gauss"}}]}, "gauss"),
        ({"species": [{"name": "a"}, {"name": "a"}]}, "each once|name every species once"),
        ({"delay": {"kind": "uniform", "low": 2.0, "high": 1.0}}, "exceeds"),
    ],
)
def test_what_is_impossible_is_refused(tables: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        build(Randomise, tables)


def test_what_does_not_fit_the_world_is_refused() -> None:
    world = make_env("Chemotaxis-v0").scenario.world
    fast = load_experiment(TABLES | {"scenario": {"time_step": 5e-3}, "randomise": {}}).env()
    env_axes(fast, Randomise())
    with pytest.raises(ConfigError, match=r"0\.005 s is too long"):
        env_axes(fast, Randomise(species=(SpeciesRange(diffusion=Lognormal(0.1, 1.0)),)))
    for entry, message in (
        (SpeciesRange("light", diffusion=1.0), "unknown species 'light'"),
        (SpeciesRange(slope=1.0), "belong to light"),
    ):
        with pytest.raises((ConfigError, UnknownNameError), match=message):
            middle_world(world, Randomise(species=(entry,)), 0.2)
