"""Actions of a scenario from the commands that a recording holds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.command import Command
from swarmctl.core.contracts import ActionMap
from swarmctl.core.errors import CapabilityError, ConfigError
from swarmctl.core.spec import Continuous, Discrete, EngineSpec
from swarmctl.engines.command_difference import channel_ranges, command_difference
from swarmctl.records.commands import command_arrays

TOLERANCE = 1e-3
"""Share of a channel's range within which an action must give the recorded command."""


def recorded_actions(
    actions: ActionMap, spec: EngineSpec, commands: Sequence[Command], counts: np.ndarray
) -> np.ndarray:
    """Return the actions, i64 [T,N] or f32 [T,N,A], that the map turns into these commands.

    Discrete actions are tried one by one. Continuous ones are solved for where the map is linear in
    every number, as it is for speeds, rates and vectors; directions are given with length 1.

    Args:
        actions: of the scenario.
        spec: of the engine.
        commands: of T decisions, concrete arrays.
        counts: bool [T,N], whose actions are wanted; the others get 0.

    Raises CapabilityError for one field for all colloids, and ConfigError if no action gives a
    recorded command.
    """
    if "field" in actions.channels:
        raise CapabilityError(
            "the actions of this scenario are votes on one field for all colloids; a recording "
            "does not tell who voted for what."
        )
    to_command = jax.jit(partial(actions.to_command, spec=spec))
    space = actions.space
    if isinstance(space, Discrete):
        found, miss = _discrete(to_command, space, spec, commands)
    else:
        found, miss = _continuous(to_command, space, spec, commands)
    bad = counts & ~(miss <= TOLERANCE)
    if bad.any():
        t, i = (int(k[0]) for k in np.nonzero(bad))
        raise ConfigError(
            f"no action of the scenario gives the command that colloid {i} was given in decision "
            f"{t} ({int(bad.sum())} of {int(counts.sum())} commands); give the scenario that was "
            "recorded, with the same keys."
        )
    return np.where(counts.reshape(counts.shape + (1,) * (found.ndim - 2)), found, 0)


def _miss(made: Command, wanted: Command, spec: EngineSpec) -> np.ndarray:
    """How far two commands are apart [N], in shares of the ranges; NaN counts as far."""
    ranges = channel_ranges(spec)
    made = jax.tree.map(np.asarray, made)
    shares = [apart / ranges[name] for name, apart in command_difference(made, wanted).items()]
    return np.nan_to_num(np.max(shares, axis=0), nan=np.inf)


def _discrete(
    to_command: jax.stages.Wrapped, space: Discrete, spec: EngineSpec, commands: Sequence[Command]
) -> tuple[np.ndarray, np.ndarray]:
    n = spec.capacity
    made = [to_command(jnp.full(n, a, jnp.int32)) for a in range(space.n)]
    miss = np.array([[_miss(one, wanted, spec) for one in made] for wanted in commands])
    return miss.argmin(axis=1).astype(np.int64), miss.min(axis=1)


def _continuous(
    to_command: jax.stages.Wrapped, space: Continuous, spec: EngineSpec, commands: Sequence[Command]
) -> tuple[np.ndarray, np.ndarray]:
    n, size = spec.capacity, space.size
    ranges = channel_ranges(spec)

    def numbers(command: Command) -> np.ndarray:
        """All channels [N,K] of a command, in shares of their ranges."""
        rows = [
            np.asarray(values, float).reshape(n, -1) / ranges[name][:, None]
            for name, values in command_arrays(command).items()
            if name != "has_heading"
        ]
        return np.concatenate(rows, axis=1)

    ends = [
        [numbers(to_command(jnp.zeros((n, size)).at[:, a].set(sign))) for sign in (-1.0, 1.0)]
        for a in range(size)
    ]
    slopes = np.stack([(high - low) / 2 for low, high in ends], axis=-1)
    middle = np.mean([end for pair in ends for end in pair], axis=0)
    solve = np.linalg.pinv(slopes)
    used = to_command(jnp.zeros((n, size))).channels
    found, miss = [], []
    for wanted in commands:
        if not used <= wanted.channels:
            found.append(np.zeros((n, size), np.float32))
            miss.append(np.full(n, np.inf))
            continue
        only = Command(
            **{name: getattr(wanted, name) for name in used},
            has_heading=wanted.has_heading if "heading" in used else None,
        )
        action = np.einsum("nak,nk->na", solve, numbers(only) - middle)
        action = np.clip(action, -1, 1).astype(np.float32)
        found.append(action)
        miss.append(_miss(to_command(jnp.asarray(action)), only, spec))
    return np.array(found), np.array(miss)
