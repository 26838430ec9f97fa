"""Policies in files: arrays as safetensors, everything else as JSON; read without running code."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from swarmctl.agents.deep.networks import MLP
from swarmctl.agents.deep.policy import Policy

from swarmctl.core.contracts import Agent
from swarmctl.core.errors import PolicyFileError, RecordError
from swarmctl.core.spec import ActionSpace, Continuous, Discrete
from swarmctl.records.arrays import load_arrays, save_arrays, write_json_atomic

FORMAT = "swarmctl-policy"
VERSION = 1
ARRAYS_FILE = "policy.safetensors"
JSON_FILE = "policy.json"


def save_agent(agent: Agent, folder: str | Path, about: Mapping[str, Any] | None = None) -> Path:
    """Write a learned policy into a folder: policy.safetensors and policy.json.

    Args:
        agent: a Policy.
        folder: made if need be; an older policy there is replaced.
        about: where the policy comes from (scenario keys, seeds, versions), kept under "about".
    Raises PolicyFileError for other agents: classical ones are made by their name and keys.
    """
    if not isinstance(agent, Policy):
        raise PolicyFileError(
            f"{type(agent).__name__} has no learned parameters to save; make it again by its name "
            "and keys."
        )
    folder = Path(folder)
    arrays = {
        f"{name}.{part}.{i}": np.asarray(value)
        for name in ("actor", "critic")
        for part in ("weights", "biases")
        for i, value in enumerate(getattr(getattr(agent, name), part))
    }
    arrays |= {"mean": np.asarray(agent.mean), "deviation": np.asarray(agent.deviation)}
    if agent.log_std is not None:
        arrays["log_std"] = np.asarray(agent.log_std)
    save_arrays(folder / ARRAYS_FILE, arrays)
    space = agent.space
    description = {
        "format": FORMAT,
        "version": VERSION,
        "kind": "mlp",
        "activation": "tanh",
        "actor": list(agent.actor.sizes),
        "critic": list(agent.critic.sizes),
        "action_space": {"kind": type(space).__name__, **dataclasses.asdict(space)},
        "observation_names": list(agent.observation_names),
        "sha256": hashlib.sha256((folder / ARRAYS_FILE).read_bytes()).hexdigest(),
        "about": dict(about or {}),
    }
    # The JSON comes last: it vouches for the arrays.
    write_json_atomic(folder / JSON_FILE, description)
    return folder


def find_policy(path: str | Path) -> Path:
    """Return the folder of a policy.

    `path` itself, its `policy` folder, or the folder of a file of it.
    """
    path = Path(path)
    candidates = [path, path / "policy"] if path.is_dir() else [path.parent]
    for folder in candidates:
        if (folder / JSON_FILE).is_file():
            return folder
    if not path.exists():
        raise PolicyFileError(
            f"{path}: no such file or folder. Give the folder of a run or of a policy."
        )
    raise PolicyFileError(
        f"{path}: no {JSON_FILE} here or in {path / 'policy'}. Give the folder of a finished run, "
        "or of a policy."
    )


def describe_policy(path: str | Path) -> dict[str, Any]:
    """Read policy.json. Raises PolicyFileError if it is corrupt or of another program."""
    file = find_policy(path) / JSON_FILE
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PolicyFileError(f"{file}: cannot be read ({error}). Copy the policy again.") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise PolicyFileError(f"{file}: is not a swarmctl policy (no format {FORMAT!r}).")
    if data.get("version") != VERSION:
        raise PolicyFileError(
            f"{file}: has version {data.get('version')!r}, this swarmctl reads version {VERSION}; "
            "use the swarmctl that wrote it."
        )
    return data


def load_agent(path: str | Path) -> Policy:
    """Load a policy from its folder, from a run's folder, or from one of its files.

    Raises PolicyFileError if it is missing, corrupt, foreign, or not what its description says.
    """
    folder = find_policy(path)
    data = describe_policy(folder)
    file = folder / ARRAYS_FILE
    try:
        arrays, _ = load_arrays(file)
    except RecordError as error:
        raise PolicyFileError(f"{error} Copy the policy again, or train it again.") from None
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != data.get("sha256"):
        raise PolicyFileError(
            f"{file}: does not belong to the {JSON_FILE} beside it (checksums differ); copy both "
            "again."
        )
    try:
        return _assemble(data, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyFileError(
            f"{folder}: the description does not fit the arrays ({error}); copy or train the "
            "policy again."
        ) from None


def _assemble(data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Policy:
    def mlp(name: str) -> MLP:
        sizes = data[name]
        layers = len(sizes) - 1
        weights = tuple(jnp.asarray(arrays[f"{name}.weights.{i}"]) for i in range(layers))
        biases = tuple(jnp.asarray(arrays[f"{name}.biases.{i}"]) for i in range(layers))
        result = MLP(weights, biases)
        shapes = [w.shape for w in weights]
        if shapes != list(itertools.pairwise(sizes)):
            raise ValueError(f"{name} has layers {shapes}, the description says {sizes}")
        return result

    kind = dict(data["action_space"])
    spaces: dict[str, type[ActionSpace]] = {"Discrete": Discrete, "Continuous": Continuous}
    space = spaces[kind.pop("kind")](**kind)
    names = tuple(str(name) for name in data["observation_names"])
    policy = Policy(
        actor=mlp("actor"),
        critic=mlp("critic"),
        log_std=jnp.asarray(arrays["log_std"]) if "log_std" in arrays else None,
        mean=jnp.asarray(arrays["mean"]),
        deviation=jnp.asarray(arrays["deviation"]),
        space=space,
        observation_names=names,
    )
    outputs = space.n if isinstance(space, Discrete) else space.size
    if policy.actor.sizes[0] != len(names) or policy.actor.sizes[-1] != outputs:
        raise ValueError(
            f"the actor maps {policy.actor.sizes[0]} to {policy.actor.sizes[-1]} numbers, "
            f"the description names {len(names)} observations and {outputs} actions"
        )
    finite = all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(policy))
    if not finite:
        raise ValueError("a parameter is not finite")
    return policy
