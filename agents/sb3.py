"""Policies of Stable-Baselines3 as policies of ours, which act, are saved and drive without torch.

Read are the networks of PPO and A2C (the mean, or the logits), of DQN (the values, of which the
highest is taken), of SAC (the mean) and of TD3, as `MlpPolicy` builds them.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

import jax.numpy as jnp
import numpy as np

from swarmctl.agents.deep.networks import MLP
from swarmctl.agents.deep.policy import OBSERVATION_BOUND, Policy
from swarmctl.core.errors import PolicyFileError
from swarmctl.core.extras import import_extra
from swarmctl.core.spec import AgentSpec, Discrete

UNBOUNDED = 2.0**30
"""Deviation of observations that are not scaled: our policies cut at ten deviations, those of
Stable-Baselines3 do not. A power of two, so that no digit is lost."""

GREEDY = 2.0**20
"""Factor on the values of DQN, so that a draw from their softmax is the highest of them."""

Weights = Mapping[str, np.ndarray]
_ACTORS = {
    "action_net.weight": "tanh",  # PPO, A2C
    "q_net.q_net.0.weight": "relu",  # DQN
    "actor.mu.weight": "relu",  # SAC
    "actor.mu.0.weight": "relu",  # TD3
}
"""Array by which a policy is known -> the activation that it has by default."""


def from_sb3(model: Any, spec: AgentSpec, vecnormalize: Any = None) -> Policy:
    """Return the policy of a model of Stable-Baselines3 as a policy for the environment of `spec`.

    Equal observations give equal actions; `evaluate_agent`, `record_episode` and `save_agent` take
    it like one that was trained here. A policy of DQN, SAC or TD3 acts deterministically, one of
    PPO and A2C is stochastic, too.

    Args:
        model: a model (PPO, A2C, DQN, SAC or TD3 with MlpPolicy and tanh or ReLU), or the path of
            the .zip that it was saved in. Of a file only the arrays are read, and the names of its
            keys: nothing in it is unpickled, so that one may open the file of a stranger.
        spec: of the environment in which it will act: `env.spec` or `env.agent_spec`.
        vecnormalize: the VecNormalize that the model was trained under; that of the model if left
            out. A file does not hold it: load it yourself, and only where you trust its source,
            since `VecNormalize.load` unpickles.
    Raises PolicyFileError, naming both sides, for other spaces or networks, and MissingExtraError.
    """
    if isinstance(model, (str, Path)):
        weights, activation = _read_zip(Path(model))
        source = str(model)
    else:
        weights, activation = _read_model(model)
        source = f"the model {type(model).__name__}"
        if vecnormalize is None:
            vecnormalize = model.get_vec_normalize_env()
    known = next((name for name in _ACTORS if name in weights), None)
    if known is None or any("features_extractor." in name for name in weights):
        _refuse(source, "is no MlpPolicy of PPO, A2C, DQN, SAC or TD3")
    if known == "actor.mu.0.weight" and any("actor.latent_pi." in name for name in weights):
        _refuse(source, "explores by a state-dependent noise (use_sde), which is not read")
    activation = activation or _ACTORS[known]
    if activation not in ("tanh", "relu"):
        _refuse(source, f"has the activation {activation!r}; allowed: tanh, relu")
    dtype = jnp.dtype(spec.engine.dtype)
    mean, deviation, first = _scaling(source, vecnormalize, spec.observation_size)
    discrete = isinstance(spec.action_space, Discrete)
    squash: Literal["tanh", "clip"] = "tanh" if known.startswith("actor.") else "clip"

    def network(*parts: str, last: float = 1.0) -> MLP:
        layers = [pair for part in parts for pair in _layers(weights, part)]
        if not layers or len(layers[0][0]) != spec.observation_size:
            found = len(layers[0][0]) if layers else 0
            _refuse(source, f"sees {found} numbers, {spec.scenario} shows {spec.observation_size}")
        scales = np.ones(len(layers))
        scales[0] *= first
        scales[-1] *= last
        return MLP(
            tuple(jnp.asarray(w * c, dtype) for (w, _), c in zip(layers, scales, strict=True)),
            tuple(jnp.asarray(b * (last if b is layers[-1][1] else 1.0), dtype) for _, b in layers),
            activation,
        )

    critic, log_std = None, None
    if known == "action_net.weight":
        actor = network("mlp_extractor.policy_net", "action_net")
        critic = network("mlp_extractor.value_net", "value_net")
        if "log_std" in weights:
            log_std = jnp.asarray(weights["log_std"], dtype)
    elif known.startswith("q_net"):
        actor = network("q_net.q_net", last=GREEDY)
    else:
        actor = network("actor.latent_pi", "actor.mu")
    _check_actions(source, spec, actor.sizes[-1], known.startswith("q_net"), log_std, squash)
    return Policy(
        actor=actor,
        critic=critic,
        log_std=None if discrete else log_std,
        mean=jnp.asarray(mean, dtype),
        deviation=jnp.asarray(deviation, dtype),
        space=spec.action_space,
        observation_names=spec.observation_names,
        squash=squash,
    )


def _check_actions(
    source: str, spec: AgentSpec, outputs: int, values: bool, log_std: Any, squash: str
) -> None:
    """Raise PolicyFileError unless the network's outputs are the actions of the environment."""
    continuous = squash == "tanh" or log_std is not None
    space = spec.action_space
    wanted = space.n if isinstance(space, Discrete) else space.size
    if continuous == isinstance(space, Discrete) or outputs != wanted:
        kind = "numbers" if continuous else "values of actions" if values else "actions"
        _refuse(source, f"gives {outputs} {kind}, {spec.scenario} takes {space}")
    if log_std is not None and log_std.shape != (outputs,):
        _refuse(source, "explores by a state-dependent noise (use_sde), which is not read")


def _scaling(source: str, vecnormalize: Any, size: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return mean [F], deviation [F], and a factor on the weights of the first layer."""
    if isinstance(vecnormalize, (str, Path)):
        _refuse(
            str(vecnormalize),
            "is a pickle, which can run code; load it with VecNormalize.load(path, env) if you "
            "trust its source, and give that",
        )
    if vecnormalize is None or not vecnormalize.norm_obs:
        return np.zeros(size), np.full(size, UNBOUNDED), UNBOUNDED
    moments = vecnormalize.obs_rms
    if np.shape(getattr(moments, "mean", ())) != (size,):
        _refuse(source, f"comes with a VecNormalize of other observations than {size} numbers")
    if vecnormalize.clip_obs != OBSERVATION_BOUND:
        _refuse(
            source,
            f"was trained with observations cut at {vecnormalize.clip_obs:g} deviations; only "
            f"VecNormalize(clip_obs={OBSERVATION_BOUND:g}) can be read",
        )
    return moments.mean, np.sqrt(moments.var + vecnormalize.epsilon), 1.0


def _layers(weights: Weights, part: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights [in,out] and biases [out] of the layers of a network, in order."""
    single = [""] if f"{part}.weight" in weights else []
    found = [re.fullmatch(re.escape(part) + r"(\.\d+)\.weight", name) for name in weights]
    names = single + sorted((m[1] for m in found if m), key=lambda text: int(text[1:]))
    return [
        (
            np.asarray(weights[f"{part}{name}.weight"], np.float64).T,
            np.asarray(weights[f"{part}{name}.bias"], np.float64),
        )
        for name in names
    ]


def _read_model(model: Any) -> tuple[Weights, str | None]:
    policy: Any = getattr(model, "policy", None)
    if not hasattr(policy, "state_dict"):
        _refuse(f"{type(model).__name__}", "is no model of Stable-Baselines3")
    weights = {name: value.cpu().numpy() for name, value in policy.state_dict().items()}
    kind = getattr(policy, "activation_fn", None)
    return weights, None if kind is None else str(kind.__name__).lower()


def _read_zip(path: Path) -> tuple[Weights, str | None]:
    torch = import_extra("sb3", "torch")
    if not path.exists() and path.with_name(path.name + ".zip").exists():
        path = path.with_name(path.name + ".zip")
    try:
        with zipfile.ZipFile(path) as archive:
            keys = json.loads(archive.read("data"))
            with archive.open("policy.pth") as file:
                # weights_only: arrays and nothing that could run.
                state = torch.load(file, map_location="cpu", weights_only=True)
            weights = {name: value.numpy() for name, value in state.items()}
            chosen = keys.get("policy_kwargs", {}).get("activation_fn")
    except Exception as error:  # whatever zipfile, json and torch raise for a bad file
        _refuse(str(path), f"cannot be read as a saved model ({type(error).__name__}: {error})")
    found = re.search(r"\.(\w+)'>$", chosen) if isinstance(chosen, str) else None
    return weights, found[1].lower() if found else None


def _refuse(source: str, why: str) -> NoReturn:
    raise PolicyFileError(
        f"{source}: {why}. Read are MlpPolicy models of PPO, A2C, DQN, SAC and TD3 that were "
        "trained on swarmctl.make_sb3 of the same scenario."
    )
