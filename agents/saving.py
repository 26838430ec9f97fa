"""Policies in files: arrays as safetensors, everything else as JSON; read without running code."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from swarmctl.agents.deep.networks import ACTIVATIONS, GRU, MLP
from swarmctl.agents.deep.policy import Policy
from swarmctl.agents.options import make_agent
from swarmctl.agents.team import Team
from swarmctl.core.contracts import Agent
from swarmctl.core.errors import PolicyFileError, RecordError
from swarmctl.core.spec import ActionSpace, AgentSpec, Continuous, Discrete
from swarmctl.records.arrays import load_arrays, save_arrays, write_json_atomic

FORMAT = "swarmctl-policy"
VERSION = 1
ARRAYS_FILE = "policy.safetensors"
JSON_FILE = "policy.json"


def save_agent(agent: Agent, folder: str | Path, about: Mapping[str, Any] | None = None) -> Path:
    """Write a learned policy into a folder: policy.safetensors and policy.json.

    Args:
        agent: a Policy, or a Team with at least one; each learned member of a team gets a folder
            of its own inside.
        folder: made if need be; an older policy there is replaced.
        about: where the policy comes from (scenario keys, seeds, versions), kept under "about".
    Raises PolicyFileError for other agents (classical ones are made by their name and keys), and
    RecordError if the folder cannot be written.
    """
    folder = Path(folder)
    if isinstance(agent, Team) and any(isinstance(member, Policy) for member in agent.members):
        return _save_team(agent, folder, about)
    if not isinstance(agent, Policy):
        raise PolicyFileError(
            f"{type(agent).__name__} has no learned parameters to save; make it again by its name "
            "and keys."
        )
    networks = {"actor": agent.actor, "critic": agent.critic}
    arrays = {
        f"{name}.{part}.{i}": np.asarray(value)
        for name, network in networks.items()
        if network is not None
        for part in ("weights", "biases")
        for i, value in enumerate(getattr(network, part))
    }
    arrays |= {"mean": np.asarray(agent.mean), "deviation": np.asarray(agent.deviation)}
    if agent.log_std is not None:
        arrays["log_std"] = np.asarray(agent.log_std)
    if agent.cell is not None:
        arrays |= {f"cell.{part}": np.asarray(getattr(agent.cell, part)) for part in _CELL}
    save_arrays(folder / ARRAYS_FILE, arrays)
    space = agent.space
    description = {
        "format": FORMAT,
        "version": VERSION,
        "kind": "mlp",
        "activation": agent.actor.activation,
        "actor": list(agent.actor.sizes),
        "critic": None if agent.critic is None else list(agent.critic.sizes),
        "memory": 0 if agent.cell is None else agent.cell.sizes[1],
        "sees_swarm": agent.sees_swarm,
        "squash": agent.squash,
        "stochastic": agent.log_std is not None or isinstance(space, Discrete),
        "action_space": {"kind": type(space).__name__, **dataclasses.asdict(space)},
        "observation_names": list(agent.observation_names),
        "sha256": hashlib.sha256((folder / ARRAYS_FILE).read_bytes()).hexdigest(),
        "about": dict(about or {}),
    }
    # The JSON comes last: it vouches for the arrays.
    write_json_atomic(folder / JSON_FILE, description)
    return folder


def _save_team(team: Team, folder: Path, about: Mapping[str, Any] | None) -> Path:
    members: dict[str, Any] = {}
    for name, member, source in zip(team.species, team.members, team.sources, strict=True):
        if isinstance(member, Policy):
            save_agent(member, folder / name, about)
            members[name] = {"folder": name}
        else:
            members[name] = {"agent": source}
    description = {
        "format": FORMAT,
        "version": VERSION,
        "kind": "team",
        "members": members,
        "about": dict(about or {}),
    }
    write_json_atomic(folder / JSON_FILE, description)
    return folder


def find_policy(path: str | Path) -> Path:
    """Return the folder of a policy.

    That is `path` itself, its `policy` folder, the `policy` folder of the only seed of a run, or
    the folder of a file of a policy. Raises PolicyFileError if there is none, or more than one.
    """
    path = Path(path)
    if not path.exists():
        raise PolicyFileError(
            f"{path}: no such file or folder. Give the folder of a run or of a policy."
        )
    candidates = [path, path / "policy"] if path.is_dir() else [path.parent]
    for folder in candidates:
        if (folder / JSON_FILE).is_file():
            return folder
    seeds = sorted(file.parent for file in path.glob(f"seed-*/policy/{JSON_FILE}"))
    if len(seeds) > 1:
        raise PolicyFileError(
            f"{path}: has the policies of {len(seeds)} seeds; give one of them, such as {seeds[0]}."
        )
    if seeds:
        return seeds[0]
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


def load_agent(path: str | Path, spec: AgentSpec | None = None) -> Policy | Team:
    """Load a policy from its folder, from a run's folder, or from one of its files.

    `spec` is needed for a team of which some members are made by their names. Raises
    PolicyFileError if it is missing, corrupt, foreign, or not what its description says.
    """
    folder = find_policy(path)
    data = describe_policy(folder)
    if data.get("kind") == "team":
        return _load_team(folder, data, spec)
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


def _load_team(folder: Path, data: Mapping[str, Any], spec: AgentSpec | None) -> Team:
    table = data.get("members")
    if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
        raise PolicyFileError(f"{folder / JSON_FILE}: members is not a table; copy it again.")
    members: list[Agent] = []
    sources = []
    for name, entry in table.items():
        if entry.get("folder") == name:
            members.append(load_agent(folder / name, spec))
            sources.append("")
        elif spec is not None:
            members.append(make_agent(str(entry.get("agent")), spec))
            sources.append(str(entry.get("agent")))
        else:
            raise PolicyFileError(
                f"{folder}: the team's {name!r} is made by its name; give the environment's spec, "
                "load_agent(path, env.spec)."
            )
    return Team(tuple(members), tuple(table), tuple(sources))


def _assemble(data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Policy:
    known = {"kind": ("mlp",), "activation": tuple(ACTIVATIONS), "squash": ("tanh", "clip")}
    for name, choices in known.items():
        found = data.get(name, choices[0]) if name == "squash" else data[name]
        if found not in choices:
            raise ValueError(f"{name} {found!r} is not known, only {', '.join(choices)}")
    space = _read_space(data["action_space"])
    names = data["observation_names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("observation_names is not a list of names")
    memory, sees_swarm = data.get("memory", 0), data.get("sees_swarm", False)
    if not (memory == 0 or _is_count(memory)) or not isinstance(sees_swarm, bool):
        raise ValueError(f"memory {memory!r} or sees_swarm {sees_swarm!r} is not known")
    width = memory or len(names)
    outputs = space.n if isinstance(space, Discrete) else space.size
    layers = {"actor": _read_sizes(data, "actor")}
    ends = {"actor": (width, outputs), "critic": (width * (1 + sees_swarm), 1)}
    if data["critic"] is not None:
        layers["critic"] = _read_sizes(data, "critic")
    seen = "features" if memory else "observations"
    for name, sizes in layers.items():
        if (sizes[0], sizes[-1]) != ends[name]:
            raise ValueError(
                f"the {name} maps {sizes[0]} to {sizes[-1]} numbers, "
                f"the description names {ends[name][0]} {seen} and {ends[name][1]} "
                f"{_OUTPUTS[name]}"
            )
    shapes = _expected_shapes(layers, len(names))
    if isinstance(space, Continuous) and data.get("stochastic", True):
        shapes["log_std"] = (space.size,)
    if memory:
        shapes |= {
            "cell.weights": (len(names), 3 * memory),
            "cell.recurrent": (memory, 3 * memory),
            "cell.biases": (3 * memory,),
        }
    _check_arrays(arrays, shapes)

    def mlp(name: str) -> MLP:
        count = range(len(layers[name]) - 1)
        return MLP(
            tuple(jnp.asarray(arrays[f"{name}.weights.{i}"]) for i in count),
            tuple(jnp.asarray(arrays[f"{name}.biases.{i}"]) for i in count),
            data["activation"],
        )

    return Policy(
        actor=mlp("actor"),
        critic=mlp("critic") if "critic" in layers else None,
        log_std=jnp.asarray(arrays["log_std"]) if "log_std" in arrays else None,
        mean=jnp.asarray(arrays["mean"]),
        deviation=jnp.asarray(arrays["deviation"]),
        space=space,
        observation_names=tuple(names),
        cell=GRU(*(jnp.asarray(arrays[f"cell.{part}"]) for part in _CELL)) if memory else None,
        squash=data.get("squash", "tanh"),
        sees_swarm=sees_swarm,
    )


_OUTPUTS = {"actor": "actions", "critic": "value"}
_CELL = ("weights", "recurrent", "biases")


def _read_space(table: Any) -> ActionSpace:
    spaces: dict[str, tuple[type[ActionSpace], str]] = {
        "Discrete": (Discrete, "n"),
        "Continuous": (Continuous, "size"),
    }
    if not isinstance(table, dict) or table.get("kind") not in spaces:
        raise ValueError(f"action_space {table!r} is not one of {', '.join(spaces)}")
    space, size = spaces[table["kind"]]
    if set(table) != {"kind", size} or not _is_count(table[size]):
        raise ValueError(f"action_space {table!r} needs kind and a whole number {size!r}")
    return space(table[size])


def _read_sizes(data: Mapping[str, Any], name: str) -> list[int]:
    sizes = data[name]
    if not isinstance(sizes, list) or len(sizes) < 2 or not all(map(_is_count, sizes)):
        raise ValueError(f"{name} {sizes!r} is not a list of layer widths")
    return sizes


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _expected_shapes(layers: Mapping[str, list[int]], observed: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"mean": (observed,), "deviation": (observed,)}
    for name, sizes in layers.items():
        for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
            shapes[f"{name}.weights.{i}"] = (n_in, n_out)
            shapes[f"{name}.biases.{i}"] = (n_out,)
    return shapes


def _check_arrays(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    odd = sorted(set(arrays) ^ set(shapes))
    if odd:
        where = "the description" if odd[0] in arrays else "the arrays"
        raise ValueError(f"{odd[0]} is missing in {where}")
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape or array.dtype.kind != "f":
            raise ValueError(f"{name} is {array.dtype} {array.shape}, expected floats {shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
    if not (arrays["deviation"] > 0).all():
        raise ValueError("deviation is not positive")
