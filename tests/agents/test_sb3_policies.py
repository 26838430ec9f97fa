"""Policies of Stable-Baselines3 act here as they do there, and travel as ours do."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from swarmctl.agents.saving import load_agent, save_agent
from swarmctl.agents.sb3 import from_sb3
from swarmctl.core.contracts import AgentInputs
from swarmctl.core.errors import PolicyFileError
from swarmctl.core.spec import AgentSpec, Continuous, Discrete, EngineSpec

F, N = 5, 40
ENGINE = EngineSpec(
    name="none",
    capacity=N,
    dimension=2,
    dtype="float32",
    species=("colloid",),
    species_of_slot=(0,) * N,
    radius=(1.0,),
    speed_min=(0.0,),
    speed_max=(2.0,),
    turn_rate_max=(1.0,),
    box=(50.0, 50.0),
    periodic=(True, True),
    control_interval=0.1,
    capabilities=frozenset({"speed", "turn_rate"}),
)
NAMES = tuple(f"number {i}" for i in range(F))
SPECS = {
    "discrete": AgentSpec("Discrete-v0", F, NAMES, Discrete(3), ("a", "b", "c"), ENGINE),
    "continuous": AgentSpec("Continuous-v0", F, NAMES, Continuous(2), ("a", "b"), ENGINE),
}


class Blank(gymnasium.Env[np.ndarray, Any]):
    """The spaces of an environment, and nothing behind them."""

    def __init__(self, kind: str) -> None:
        self.observation_space = gymnasium.spaces.Box(-1e30, 1e30, (F,), np.float32)
        self.action_space = (
            gymnasium.spaces.Discrete(3)
            if kind == "discrete"
            else gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, Any]:
        return np.zeros(F, np.float32), {}


def make_model(algorithm: Any, kind: str, normalise: bool = False, **kwargs: Any) -> Any:
    env: Any = DummyVecEnv([lambda: Blank(kind)])
    if normalise:
        env = VecNormalize(env)
        env.obs_rms.update(np.random.default_rng(2).normal(3.0, [1, 2, 3, 4, 0], (100, F)))
    sizes = {"net_arch": [8, 7], **kwargs.pop("policy_kwargs", {})}
    small = {"buffer_size": 10} if algorithm in (DQN, SAC, TD3) else {}
    return algorithm("MlpPolicy", env, policy_kwargs=sizes, seed=0, **small, **kwargs)


def act(policy: Any, observation: np.ndarray) -> np.ndarray:
    inputs = AgentInputs(None, jnp.asarray(observation), None)  # type: ignore[arg-type]
    return np.asarray(policy.act(inputs, (), jax.random.key(0), deterministic=True)[0])


def observations(scale: float = 3.0) -> np.ndarray:
    return np.random.default_rng(0).normal(0, scale, (N, F)).astype(np.float32)


CASES = [
    (PPO, "discrete", {}),
    (PPO, "continuous", {}),
    (PPO, "discrete", {"activation_fn": torch.nn.ReLU, "net_arch": {"pi": [6], "vf": [9, 4]}}),
    (A2C, "continuous", {"net_arch": []}),
    (DQN, "discrete", {}),
    (SAC, "continuous", {}),
    (TD3, "continuous", {"activation_fn": torch.nn.Tanh}),
]


@pytest.mark.parametrize("normalise", [False, True], ids=["raw", "normalised"])
@pytest.mark.parametrize(("algorithm", "kind", "policy_kwargs"), CASES)
def test_equal_observations_give_equal_actions(
    algorithm: Any, kind: str, policy_kwargs: dict[str, Any], normalise: bool, tmp_path: Path
) -> None:
    model = make_model(algorithm, kind, normalise, policy_kwargs=policy_kwargs)
    policy, seen = from_sb3(model, SPECS[kind]), observations()
    shown = model.get_vec_normalize_env().normalize_obs(seen) if normalise else seen
    wanted, _ = model.predict(shown, deterministic=True)
    np.testing.assert_allclose(act(policy, seen), wanted, atol=1e-5)
    policy.check(SPECS[kind])
    # Neither a folder of ours nor theirs changes anything.
    again = load_agent(save_agent(policy, tmp_path / "policy"))
    np.testing.assert_array_equal(act(again, seen), act(policy, seen))
    model.save(tmp_path / "model.zip")
    read = from_sb3(tmp_path / "model", SPECS[kind], model.get_vec_normalize_env())
    np.testing.assert_array_equal(act(read, seen), act(policy, seen))


def test_without_vecnormalize_observations_are_not_cut() -> None:
    model, seen = make_model(PPO, "continuous"), observations(1e3)
    wanted, _ = model.predict(seen, deterministic=True)
    np.testing.assert_allclose(act(from_sb3(model, SPECS["continuous"]), seen), wanted, atol=1e-5)


def test_value_and_noise_of_ppo_are_kept() -> None:
    model = make_model(PPO, "continuous", policy_kwargs={"log_std_init": -1.5})
    policy, seen = from_sb3(model, SPECS["continuous"]), observations()
    values = model.policy.predict_values(torch.as_tensor(seen)).detach().numpy()[:, 0]
    np.testing.assert_allclose(policy.value(jnp.asarray(seen)), values, atol=1e-5)
    np.testing.assert_allclose(policy.log_std, -1.5)


def test_a_draw_of_dqn_is_its_best_action() -> None:
    model = make_model(DQN, "discrete")
    policy, seen = from_sb3(model, SPECS["discrete"]), observations()
    inputs = AgentInputs(None, jnp.asarray(seen), None)  # type: ignore[arg-type]
    drawn, _ = policy.act(inputs, (), jax.random.key(1), deterministic=False)
    np.testing.assert_array_equal(drawn, act(policy, seen))


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda: make_model(PPO, "continuous"), "discrete", "gives 2 numbers, Discrete-v0 takes"),
        (lambda: make_model(PPO, "discrete"), "continuous", "gives 3 actions, Continuous-v0 takes"),
        (
            lambda: make_model(PPO, "continuous", use_sde=True),
            "continuous",
            "state-dependent noise",
        ),
        (
            lambda: make_model(SAC, "continuous", use_sde=True),
            "continuous",
            "state-dependent noise",
        ),
        (
            lambda: make_model(PPO, "discrete", policy_kwargs={"activation_fn": torch.nn.ELU}),
            "discrete",
            "activation 'elu'",
        ),
        (lambda: object(), "discrete", "object: is no model"),
        (lambda: __file__, "discrete", r"cannot be read as a saved model \(BadZipFile"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, kind: str, says: str) -> None:
    with pytest.raises(PolicyFileError, match=says):
        from_sb3(make(), SPECS[kind])


def test_other_observations_and_pickles_are_refused() -> None:
    model = make_model(PPO, "discrete")
    more = dataclasses.replace(SPECS["discrete"], observation_size=6)
    with pytest.raises(PolicyFileError, match="sees 5 numbers, Discrete-v0 shows 6"):
        from_sb3(model, more)
    with pytest.raises(PolicyFileError, match="is a pickle, which can run code"):
        from_sb3(model, SPECS["discrete"], "vecnormalize.pkl")
    scaled = VecNormalize(DummyVecEnv([lambda: Blank("discrete")]), clip_obs=5.0)
    with pytest.raises(PolicyFileError, match="cut at 5 deviations"):
        from_sb3(model, SPECS["discrete"], scaled)


def test_a_foreign_file_runs_no_code(tmp_path: Path) -> None:
    """The keys of a model are pickled in its file; they are not touched."""
    import json
    import zipfile

    model = make_model(PPO, "discrete")
    model.save(tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    keys = json.loads(parts["data"])
    for value in keys.values():
        if isinstance(value, dict) and ":serialized:" in value:
            value[":serialized:"] = "bm8gcGlja2xl"
    parts["data"] = json.dumps(keys).encode()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    seen = observations()
    read = from_sb3(tmp_path / "other.zip", SPECS["discrete"])
    np.testing.assert_array_equal(act(read, seen), model.predict(seen, deterministic=True)[0])


def test_a_saved_policy_needs_no_torch(tmp_path: Path) -> None:
    save_agent(from_sb3(make_model(SAC, "continuous"), SPECS["continuous"]), tmp_path)
    program = (
        "import sys; from swarmctl.agents.saving import load_agent; "
        f"load_agent({str(tmp_path)!r}); "
        "assert not {'torch', 'stable_baselines3'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
