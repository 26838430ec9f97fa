"""Potentials and flows of a world as force fields of ESPResSo.

Every species has one force field, -∇U + γ u: the drag of a fluid that flows with u. (ESPResSo's
own FlowField adds the friction γ(u - v) to that of the thermostat, which halves the drift.) Forces
are tabulated on a grid and interpolated linearly, which is exact for uniform flows, shear and
harmonic traps. The grid is refined until it is good enough everywhere else.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.errors import ConfigError
from swarmctl.core.fields import CallableFlow, CallablePotential
from swarmctl.core.world import World
from swarmctl.engines.espresso_frame import Floats, Frame
from swarmctl.physics.fields import force_at
from swarmctl.physics.flow import flow_at, spin
from swarmctl.physics.parameters import MotionParams

COARSEST, FINEST = 16, 2**21
"""Cells along the longest side to begin with, and cells in all at most."""
ACCURACY = 1e-3
"""Allowed error of the interpolated force, over the largest force of the field."""
SHARE = 0.98
"""Share of the box in which the error must be that small: fields may have a kink or, at a periodic
face, a step.
"""


def has_fields(world: World) -> bool:
    """Whether a world has potentials or flows."""
    return bool(world.flows or world.potentials)


def changes_in_time(world: World) -> bool:
    """Whether a field may depend on time: functions of the user's may."""
    parts = (*world.flows, *world.potentials)
    return any(isinstance(part, CallableFlow | CallablePotential) for part in parts)


class ForceFields:
    """The force fields of a world in a System.

    Raises ConfigError for a field that no grid of reasonable size resolves.
    """

    def __init__(self, world: World, params: MotionParams, frame: Frame) -> None:
        self._world, self._frame = world, frame
        self._forces = jax.jit(_forces_function(world, params))
        self._spin = jax.jit(_spin_function(world, params))
        slots = np.asarray(world.species_of_slot)
        self._members = [np.flatnonzero(slots == s) for s in range(len(world.species))]
        self._spacing = self._resolve()
        self._constraints: list[Any] = []

    def set(self, system: Any, time: float) -> None:
        """Tabulate the forces of a time in s, in place of those of another time."""
        constraints = importlib.import_module("espressomd.constraints")
        for old in self._constraints:
            system.constraints.remove(old)
        self._constraints = []
        fields, shape = self._tabulate(self._spacing, time), self._shape(self._spacing)
        for field, members in zip(fields, self._members, strict=True):
            if not np.any(field):
                continue
            table = field.reshape(*shape, 3)
            force = constraints.ForceField(
                field=table,
                grid_spacing=self._spacing,
                default_scale=0.0,
                particle_scales={int(i): 1.0 for i in members},
            )
            system.constraints.add(force)
            self._constraints.append(force)

    def spins(self, position: np.ndarray, time: float) -> Floats:
        """Angular velocity [N,3] rad/s of the fluid, half its vorticity, at [N,D] µm."""
        if not self._world.flows:
            return np.zeros((len(position), 3))
        return self._frame.turns(np.asarray(self._spin(position.T, time)).T)

    def _shape(self, spacing: Floats) -> tuple[int, int, int]:
        x, y, z = np.ceil(self._frame.box / spacing - 1e-9).astype(int) + 2
        return int(x), int(y), int(z)

    def _points(self, spacing: Floats, shift: float) -> np.ndarray:
        """Grid points [P,D] of the world, or points between them, for which `shift` is ½."""
        axes = [
            (np.arange(n) - 0.5 + shift) * h
            for n, h in zip(self._shape(spacing), spacing, strict=True)
        ]
        mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        return self._frame.outside(mesh)

    def _tabulate(self, spacing: Floats, time: float, shift: float = 0.0) -> Floats:
        """Forces [S,P,3] pN on every species."""
        found = np.asarray(self._forces(self._points(spacing, shift).T, time), np.float64)
        fields = np.moveaxis(found, 1, 2)
        return np.pad(fields, ((0, 0), (0, 0), (0, 3 - fields.shape[2])))

    def _resolve(self) -> Floats:
        frame, cells = self._frame, COARSEST
        while True:
            longest = float(frame.box[: frame.dimension].max()) / cells
            number = np.maximum(np.ceil(frame.box / longest - 1e-9), 1)
            if frame.dimension == 2:
                number[2] = 1
            if np.prod(number + 2) > FINEST:
                raise ConfigError(
                    "engine 'espresso': a potential or a flow is too steep to be tabulated: a grid "
                    f"of {FINEST} cells still errs by more than {ACCURACY:g} of the largest force. "
                    "Use a smaller box, or engine 'jax'."
                )
            spacing = frame.box / number
            table = self._tabulate(spacing, 0.0).reshape(-1, *self._shape(spacing), 3)
            true = self._tabulate(spacing, 0.0, 0.5).reshape(table.shape)
            inner = (slice(None), slice(0, -1), slice(0, -1), slice(0, -1))
            guess = sum(
                table[:, i : table.shape[1] - 1 + i, j : table.shape[2] - 1 + j, k:][
                    :, :, :, : table.shape[3] - 1
                ]
                for i in (0, 1)
                for j in (0, 1)
                for k in (0, 1)
            )
            error = np.abs(np.asarray(guess) / 8 - true[inner]).max(axis=-1)
            largest = float(np.abs(table).max())
            if not np.isfinite(largest):
                raise ConfigError("engine 'espresso': a potential or a flow is not finite.")
            if np.quantile(error, SHARE) <= ACCURACY * largest:
                return spacing
            cells *= 2


def _forces_function(world: World, params: MotionParams) -> Callable[..., Any]:
    periodic = world.box.periodic
    first = [world.species_of_slot.index(s) for s in range(len(world.species))]

    def forces(points: Any, time: Any) -> Any:
        """Forces [S,D,P] pN at points [D,P] µm."""
        result = []
        for slot in first:
            force = jnp.zeros_like(points)
            if params.flows:
                flow, _ = flow_at(points, time, params.flows, params.size, periodic)
                force = force + params.friction[slot] * flow
            # The share of a potential is per colloid; here every point is one of this species.
            own = [
                part if part.share is None else type(part)(part.potential, part.share[slot])
                for part in params.potentials
            ]
            if own:
                force = force + force_at(points, time, own, params.size, periodic)
            result.append(force)
        return jnp.stack(result)

    return forces


def _spin_function(world: World, params: MotionParams) -> Callable[..., Any]:
    def turning(position: Any, time: Any) -> Any:
        _, gradient = flow_at(position, time, params.flows, params.size, world.box.periodic)
        return spin(gradient)

    return turning
