"""What fields are made of: values on regular grids, functions by name, chemicals on a grid."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, nearest, require_positive

if TYPE_CHECKING:
    from swarmctl.core.world import Box

Edge = Literal["periodic", "clamp"]

MOST_CELLS = 2**24
"""Cells of a chemical's grid at most."""
MATCH = 1e-6
"""How far, relative to the box, a periodic grid may miss its length."""


def uncompared(default: Any, doc: str, unit: str | None = None) -> Any:
    """Like `config.key`, for a field that takes no part in equality and hash."""
    metadata = {"doc": doc, "unit": unit, "positional": False}
    return dataclasses.field(default=default, compare=False, metadata=metadata)


@dataclass(frozen=True)
class Grid:
    """Values on a regular grid, equal to another one if the content is.

    Along an axis with n points the point i lies at origin + i spacing. A periodic axis repeats
    after n spacings; on an axis that clamps, places outside see the value at the nearest end.
    """

    values: Any = uncompared(
        dataclasses.MISSING,
        "numbers [nx, ny(, nz)], with a last axis of 2 or 3 components for a flow, or the path of "
        "an .npz file that holds values and, if they are not given here, origin and spacing",
    )
    spacing: float | tuple[float, ...] | None = uncompared(
        None, "distance of the points, one for all axes or one per axis", "um"
    )
    origin: tuple[float, ...] | None = uncompared(
        None, "place of the first point; the corner of the box if left out", "um"
    )
    edge: Edge | tuple[Edge, ...] = key(
        "clamp", "periodic or clamp; one for all axes or one per axis"
    )
    array: Any = dataclasses.field(init=False, repr=False, compare=False)
    steps: tuple[float, ...] = dataclasses.field(init=False, repr=False)
    start: tuple[float, ...] | None = dataclasses.field(init=False, repr=False)
    digest: str = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        stored = _stored(self.values)
        array = _numbers(stored["values"])
        steps = np.atleast_1d(_only_one("spacing", self.spacing, stored.get("spacing")))
        start = _only_one("origin", self.origin, stored.get("origin"), required=False)
        if steps.dtype.kind not in "fiu" or not (np.isfinite(steps) & (steps > 0)).all():
            raise ConfigError(f"grid: spacing must be positive and finite, got {steps.tolist()}.")
        if start is not None and not np.isfinite(np.asarray(start, float)).all():
            raise ConfigError(f"grid: origin must be finite, got {start}.")
        for edge in self.edge if isinstance(self.edge, tuple) else (self.edge,):
            if edge not in ("periodic", "clamp"):
                raise ConfigError(f"grid: edge {edge!r}; allowed: periodic, clamp.")
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "steps", tuple(float(step) for step in steps))
        origin = None if start is None else tuple(float(x) for x in np.atleast_1d(start))
        object.__setattr__(self, "start", origin)
        content = hashlib.sha256(array.tobytes() + repr(array.shape).encode())
        object.__setattr__(self, "digest", content.hexdigest())

    def spacings(self, dimension: int) -> tuple[float, ...]:
        """Spacing of every axis in µm."""
        return self.steps * dimension if len(self.steps) == 1 else self.steps

    def origins(self, dimension: int) -> tuple[float, ...]:
        """First point in µm."""
        return self.start or (0.0,) * dimension

    def edges(self, dimension: int) -> tuple[Edge, ...]:
        """Edge of every axis."""
        return (self.edge,) * dimension if isinstance(self.edge, str) else self.edge

    def check(self, box: Box, where: str, components: bool) -> None:
        """Raise ConfigError unless the grid matches the box.

        `components`: whether its values are vectors.
        """
        dimension, shape = box.dimension, self.array.shape
        points = shape[:-1] if components else shape
        wanted = f"{dimension} axes" + (f" and a last one of {dimension} components" * components)
        if len(points) != dimension or (components and shape[-1] != dimension):
            raise ConfigError(
                f"{where}: the grid's values have shape {shape}, but a {dimension}D box needs "
                f"{wanted}."
            )
        for name, given in (
            ("spacing", self.spacings(dimension)),
            ("origin", self.origins(dimension)),
            ("edge", self.edges(dimension)),
        ):
            if len(given) != dimension:
                raise ConfigError(
                    f"{where}: the grid has {len(given)} numbers for {name}, but the box has "
                    f"{dimension} axes."
                )
        for axis in range(dimension):
            self._check_axis(box, where, axis, points[axis])

    def _check_axis(self, box: Box, where: str, axis: int, points: int) -> None:
        step = self.spacings(box.dimension)[axis]
        origin, edge = self.origins(box.dimension)[axis], self.edges(box.dimension)[axis]
        length = box.size[axis]
        if points < 2:
            raise ConfigError(f"{where}: the grid needs 2 points or more along axis {axis}.")
        if edge == "periodic" and box.periodic[axis]:
            span = points * step
            if abs(span - length) > MATCH * length:
                raise ConfigError(
                    f"{where}: the grid's {points} points of {step:g} µm span {span:g} µm along "
                    f"axis {axis}, but the periodic box is {length:g} µm long; take a spacing of "
                    f"{length / points:g} µm, or edge clamp."
                )
            return
        span = (points - 1) * step
        if edge == "clamp" and (origin + span < 0 or origin > length):
            raise ConfigError(
                f"{where}: the grid spans {origin:g} to {origin + span:g} µm along axis {axis}, "
                f"outside the box, which spans 0 to {length:g} µm."
            )
        if edge == "clamp" and box.periodic[axis] and span > length * (1 + MATCH):
            raise ConfigError(
                f"{where}: the grid spans {span:g} µm along axis {axis}, more than the periodic "
                f"box of {length:g} µm; leave points out, or enlarge the box."
            )


def _stored(values: Any) -> dict[str, Any]:
    if not isinstance(values, (str, Path)):
        return {"values": values}
    try:
        loaded = np.load(values, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("it holds a single array")
        with loaded as file:
            stored = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"grid: cannot read {values} ({error}); give the path of an .npz file."
        ) from None
    if "values" not in stored:
        raise ConfigError(
            f"grid: {values} holds {', '.join(stored) or 'nothing'}; it must hold values, and "
            "may hold origin and spacing."
        )
    return stored


def _numbers(values: Any) -> np.ndarray:
    try:
        array = np.array(values, dtype=np.float64, order="C")
    except (TypeError, ValueError):
        raise ConfigError("grid: values must be an array of numbers.") from None
    if not np.isfinite(array).all():
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ConfigError(f"grid: values must be finite, but the one at {bad} is not.")
    array.flags.writeable = False
    return array


def _only_one(name: str, given: Any, stored: Any, required: bool = True) -> Any:
    if given is not None and stored is not None:
        raise ConfigError(f"grid: {name} is given both here and in the file; leave one out.")
    if required and given is None and stored is None:
        raise ConfigError(f"grid: {name} is missing; give it here or in the file.")
    return stored if given is None else given


@lru_cache(maxsize=64)
def _from_file(path: Path, digest: str) -> Any:
    # by content, so that a function stays the same object, and changes when its file does
    spec = importlib.util.spec_from_file_location(f"_swarmctl_{path.stem}_{digest[:12]}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_function(function: Any, where: str) -> Callable[..., Any]:
    """Return the function that a text names, "file.py:name" or "package.module:name".

    A callable is returned as it is. Raises ConfigError if there is none.
    """
    if callable(function):
        return function
    source, colon, name = function.rpartition(":") if isinstance(function, str) else ("", "", "")
    if not (colon and source and name):
        raise ConfigError(
            f"{where}: {function!r} names no function; give 'file.py:name' or "
            "'package.module:name'."
        )
    try:
        if source.endswith(".py"):
            path = Path(source).resolve()
            module = _from_file(path, hashlib.sha256(path.read_bytes()).hexdigest())
        else:
            module = importlib.import_module(source)
    except (ImportError, OSError, SyntaxError) as error:
        raise ConfigError(f"{where}: cannot load {source!r} ({error}).") from None
    found = getattr(module, name, None)
    if not callable(found):
        names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise ConfigError(f"{where}: {source!r} has no function {name!r}. {nearest(name, names)}")
    return found


def owned(parameters: Any) -> Any:
    """Copy parameters so that nobody can change them: mappings of, sequences of, or plain numbers
    and arrays.
    """
    if isinstance(parameters, Mapping):
        return {str(name): owned(parameters[name]) for name in sorted(parameters)}
    if isinstance(parameters, (tuple, list)):
        return tuple(owned(item) for item in parameters)
    if isinstance(parameters, (int, float)):
        return parameters
    array = np.array(parameters)
    if array.dtype.kind not in "fiub":
        raise ConfigError(f"parameters must be numbers or arrays of them, got {parameters!r}.")
    array.flags.writeable = False
    return array


def content_key(parameters: Any) -> Any:
    """A hashable stand-in for parameters."""
    if isinstance(parameters, Mapping):
        return tuple((name, content_key(value)) for name, value in parameters.items())
    if isinstance(parameters, tuple):
        return tuple(content_key(item) for item in parameters)
    if isinstance(parameters, np.ndarray):
        return (parameters.shape, parameters.dtype.str, parameters.tobytes())
    return parameters


@dataclass(frozen=True)
class Chemical:
    """A substance that colloids secrete, that diffuses and decays: ∂c/∂t = D∇²c - kc + sources.

    Its concentration c counts per µm² in 2D and per µm³ in 3D. Nothing leaves through hard or open
    faces; a colloid beyond an open face acts on, and sees, the nearest cell.
    """

    name: str = key("chemical", "name, unique in the world")
    diffusion: float = key(500.0, "diffusion coefficient", "um**2/s")
    decay: float = key(0.0, "decay rate", "1/s")
    secretion: float | tuple[float, ...] = key(
        0.0, "secreted amount per colloid and second, one for all species or one each", "1/s"
    )
    spacing: float = key(5.0, "side of a grid cell at most; cells fill the box evenly", "um")
    initial: float = key(0.0, "concentration at time 0, per µm² or µm³")
    method: Literal["auto", "explicit", "spectral"] = key(
        "auto",
        "explicit: finite differences in time, for the diffusion coefficient given here at most; "
        "spectral: exact in time, for any; auto: whichever is expected to be quicker",
    )

    def __post_init__(self) -> None:
        where = f"chemical {self.name!r}"
        require_positive(where, diffusion=self.diffusion, spacing=self.spacing)
        rates = self.secretion if isinstance(self.secretion, tuple) else (self.secretion,)
        for name, values in (
            ("decay", (self.decay,)),
            ("secretion", rates),
            ("initial", (self.initial,)),
        ):
            for value in values:
                if not (math.isfinite(value) and value >= 0):
                    raise ConfigError(f"{where}: {name} must be at least 0, got {value}.")
        if self.method not in ("auto", "explicit", "spectral"):
            raise ConfigError(
                f"{where}: method {self.method!r}; allowed: auto, explicit, spectral."
            )

    def rates(self, species: int) -> tuple[float, ...]:
        """Secretion of every species in 1/s."""
        if isinstance(self.secretion, tuple):
            return self.secretion
        return (self.secretion,) * species

    def cells(self, box: Box) -> tuple[int, ...]:
        """Number of cells along every axis: as few as are no longer than `spacing`."""
        return tuple(max(1, math.ceil(length / self.spacing - 1e-9)) for length in box.size)

    def check(self, box: Box, species: int) -> None:
        """Raise ConfigError unless the chemical's grid and rates match the box and the species."""
        where = f"chemical {self.name!r}"
        if len(self.rates(species)) != species:
            raise ConfigError(
                f"{where}: {len(self.rates(species))} secretion rates for {species} species; give "
                "one for all or one each."
            )
        cells = self.cells(box)
        for axis, count in enumerate(cells):
            if count < 3:
                raise ConfigError(
                    f"{where}: a spacing of {self.spacing:g} µm leaves {count} cell(s) along axis "
                    f"{axis}, {box.size[axis]:g} µm long; 3 are needed, so take "
                    f"{box.size[axis] / 3:g} µm or less."
                )
        if math.prod(cells) > MOST_CELLS:
            raise ConfigError(
                f"{where}: {' x '.join(map(str, cells))} cells of {self.spacing:g} µm are more "
                f"than {MOST_CELLS}; take a larger spacing."
            )


def check_chemicals(chemicals: Sequence[Chemical], box: Box, species: int) -> None:
    """Raise ConfigError unless all chemicals match the box, and their names differ."""
    names = [chemical.name for chemical in chemicals]
    if len(set(names)) != len(names):
        raise ConfigError(f"world: names of chemicals must be unique, got {names}.")
    for chemical in chemicals:
        chemical.check(box, species)
