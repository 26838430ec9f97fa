"""Chemicals that colloids secrete: ∂c/∂t = D∇²c - kc + Σ secretion δ(x - x_i), on a cell grid.

Cells are of equal size and fill the box; periodic faces are periodic, nothing leaves through
others. Concentrations are [*cells,*b], in amount per µm² or µm³. Amounts are shared out to the
cells around a colloid and read from them with the same weights, and gradients are central
differences read so, which keeps a colloid from being pushed by what it secretes at this instant.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.grids import Chemical
from swarmctl.core.tree import pytree
from swarmctl.core.world import Box
from swarmctl.physics.grids import GridParams, deposit, interpolate

Array = jax.Array

DIFFUSED = 0.4
"""Explicit steps are so short that D dt Σ 1/h² over the axes is at most this: stable and positive,
and 0.2 per axis in a square box."""
DECAYED = 0.1
"""Explicit steps are so short that k dt is at most this."""
SPECTRAL_COST = (10.0, 0.04)
"""What an advance by the spectral method costs in explicit steps (measured on two CPU cores): the
first number, and the second one for every cell along every axis."""


@pytree
class ChemicalParams:
    """`diffusion` D [] µm²/s, `decay` k [] 1/s and `secretion` [N] 1/s of every colloid."""

    diffusion: Array
    decay: Array
    secretion: Array


@dataclasses.dataclass(frozen=True)
class ChemistryPlan:
    """What is static: cells per axis, which axes are periodic, seconds of one advance.

    `substeps` is the number of explicit steps in it, 0 for the spectral method.
    """

    cells: tuple[int, ...]
    periodic: tuple[bool, ...]
    step: float
    substeps: int


def chemistry_plan(chemical: Chemical, box: Box, step: float) -> ChemistryPlan:
    """Choose the method for advances of `step` seconds of a chemical that was checked.

    Explicit steps are stable up to the chemical's own diffusion coefficient in this box; where
    larger ones, or smaller boxes, will be mapped over, its method has to be spectral.
    """
    cells = chemical.cells(box)
    curvature = sum((n / length) ** 2 for n, length in zip(cells, box.size, strict=True))
    rate = max(chemical.diffusion * curvature / DIFFUSED, chemical.decay / DECAYED)
    substeps = max(1, math.ceil(rate * step - 1e-9))
    spectral = chemical.method == "spectral"
    if chemical.method == "auto":
        spectral = substeps > SPECTRAL_COST[0] + SPECTRAL_COST[1] * sum(cells)
    return ChemistryPlan(cells, box.periodic, step, 0 if spectral else substeps)


def chemical_params(chemical: Chemical, species_of_slot: Sequence[int]) -> ChemicalParams:
    """Arrays of a chemical for colloids of these species."""
    dtype = jax.dtypes.canonicalize_dtype(jnp.float64)
    rates = np.asarray(chemical.rates(1 + max(species_of_slot)), dtype)
    return ChemicalParams(
        jnp.asarray(chemical.diffusion, dtype),
        jnp.asarray(chemical.decay, dtype),
        jnp.asarray(rates[np.asarray(species_of_slot)]),
    )


def initial_concentration(chemical: Chemical, box: Box) -> Array:
    """Concentration [*cells] at time 0."""
    dtype = jax.dtypes.canonicalize_dtype(jnp.float64)
    return jnp.full(chemical.cells(box), chemical.initial, dtype)


def _spacing(plan: ChemistryPlan, size: Array) -> Array:
    cells = jnp.asarray(plan.cells, size.dtype)
    return size / cells.reshape(-1, *(1,) * (size.ndim - 1))


def total(concentration: Array, plan: ChemistryPlan, size: Array) -> Array:
    """Amount [*b] of the chemical in the box."""
    dimension = len(plan.cells)
    amount = jnp.sum(concentration, axis=tuple(range(dimension)))
    return amount * jnp.prod(_spacing(plan, size), axis=0)


def sources(position: Array, amount: Array, plan: ChemistryPlan, size: Array) -> Array:
    """Concentration [*cells,*b] of amounts [N,*b] at positions [D,N,*b] µm."""
    spacing = _spacing(plan, size)
    shared = deposit(amount, position, 0.5 * spacing, spacing, plan.cells, plan.periodic)
    return shared / jnp.prod(spacing, axis=0)


def advance(
    concentration: Array,
    position: Array,
    params: ChemicalParams,
    plan: ChemistryPlan,
    size: Array,
) -> Array:
    """Concentration [*cells,*b] after `plan.step` seconds with colloids at rest at [D,N,*b] µm.

    size [D,*b or 1s] µm is the box. The total amount follows dM/dt = -kM + Σ secretion exactly.
    """
    shape = jnp.broadcast_shapes(params.secretion.shape, position.shape[1:])
    rate = sources(position, jnp.broadcast_to(params.secretion, shape), plan, size)
    step = jnp.asarray(plan.step, concentration.dtype)
    if plan.substeps == 0:
        return _spectral(concentration, rate, params, plan, size, step)
    step = step / plan.substeps
    # Exponential Euler (Cox & Matthews 2002): exact for the mean, and in the steady state.
    weight = step * _decayed(params.decay * step)
    spacing = _spacing(plan, size)
    pace = [weight * params.diffusion / spacing[axis] ** 2 for axis in range(len(plan.cells))]
    gain, loss = weight * rate, weight * params.decay
    start = concentration + jnp.zeros_like(gain + loss + sum(pace))

    def substep(_: Array, c: Array) -> Array:
        change = gain - loss * c
        for axis, p in enumerate(pace):
            low, high = _neighbours(c, axis, plan.periodic[axis])
            change = change + p * ((low - c) + (high - c))
        return c + change

    return jax.lax.fori_loop(0, plan.substeps, substep, start)


def _decayed(x: Array) -> Array:
    """(1 - e^-x)/x."""
    safe = jnp.where(x > 1e-4, x, 1)
    return jnp.where(x > 1e-4, -jnp.expm1(-safe) / safe, 1 - 0.5 * x)


def _neighbours(c: Array, axis: int, periodic: bool) -> tuple[Array, Array]:
    """Cells below and above along an axis; a closed face mirrors the cell before it."""
    count = c.shape[axis]
    inner_low = jax.lax.slice_in_dim(c, 0, count - 1, axis=axis)
    inner_high = jax.lax.slice_in_dim(c, 1, count, axis=axis)
    first = jax.lax.slice_in_dim(c, 0, 1, axis=axis)
    last = jax.lax.slice_in_dim(c, count - 1, count, axis=axis)
    before, after = (last, first) if periodic else (first, last)
    return (
        jnp.concatenate([before, inner_low], axis=axis),
        jnp.concatenate([inner_high, after], axis=axis),
    )


def _modes(count: int, periodic: bool) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal eigenvectors [mode, cell] of -h²∇² on an axis, and their eigenvalues [mode]."""
    i = np.arange(count)
    if not periodic:
        basis = np.cos(np.pi * i[:, None] * (2 * i + 1) / (2 * count))
        values = 2 - 2 * np.cos(np.pi * i / count)
    else:
        wave = (i + 1) // 2
        angle = 2 * np.pi * wave[:, None] * i / count
        even = (i % 2 == 0) | (2 * wave == count)  # the sine of the shortest wave is 0 everywhere
        basis = np.where(even[:, None], np.cos(angle), np.sin(angle))
        values = 2 - 2 * np.cos(2 * np.pi * wave / count)
    return basis / np.linalg.norm(basis, axis=1, keepdims=True), values


def _along(matrix: Array, c: Array, axis: int) -> Array:
    product = jnp.tensordot(matrix, c, axes=(1, axis), precision=jax.lax.Precision.HIGHEST)
    return jnp.moveaxis(product, 0, axis)


def _spectral(
    c: Array, rate: Array, params: ChemicalParams, plan: ChemistryPlan, size: Array, step: Array
) -> Array:
    """Every mode of the cell grid relaxes on its own, exactly in time."""
    dimension, spacing = len(plan.cells), _spacing(plan, size)
    modes = [_modes(n, p) for n, p in zip(plan.cells, plan.periodic, strict=True)]
    bases = [jnp.asarray(basis, c.dtype) for basis, _ in modes]
    damping = params.decay
    for axis, (_, values) in enumerate(modes):
        along = jnp.asarray(values, c.dtype).reshape(
            *(-1 if a == axis else 1 for a in range(dimension)), *(1,) * (spacing.ndim - 1)
        )
        damping = damping + params.diffusion / spacing[axis] ** 2 * along
    c, rate = c + jnp.zeros_like(rate), rate + jnp.zeros_like(c)
    for axis, basis in enumerate(bases):
        c, rate = _along(basis, c, axis), _along(basis, rate, axis)
    c = jnp.exp(-damping * step) * c + step * _decayed(damping * step) * rate
    for axis, basis in enumerate(bases):
        c = _along(basis.T, c, axis)
    return c


def sample(
    concentration: Array, position: Array, plan: ChemistryPlan, size: Array
) -> tuple[Array, Array]:
    """Concentration [N,*b] and its gradient [D,N,*b] per µm at positions [D,N,*b] µm.

    Both are continuous. At a distance r from a source the gradient is exact to about 2 (h/r)² with
    cells of side h; closer than about five sides, the source is seen to be as wide as a cell.
    """
    spacing = _spacing(plan, size)
    fields = [concentration]
    for axis, periodic in enumerate(plan.periodic):
        low, high = _neighbours(concentration, axis, periodic)
        fields.append((high - low) * (0.5 / spacing[axis]))
    table = jnp.stack(jnp.broadcast_arrays(*fields))
    grid = GridParams(table, 0.5 * spacing, spacing, plan.periodic)
    values = interpolate(grid, position, size, (False,) * len(plan.cells))[0]
    return values[0], values[1:]
