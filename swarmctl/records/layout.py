"""What a frame of a trajectory holds: names, shapes, types, units; for journal and H5MD alike."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from swarmctl.core.errors import RecordError, nearest

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_RESERVED = frozenset(
    {"requested", "applied", "reward", "episode", "swarm_step", "time", "step", "value"}
)
CHANNEL_UNITS = {
    "speed": "um s-1",
    "turn_rate": "rad s-1",
    "velocity": "um s-1",
    "spot_offset": "um",
    "field.frequency": "Hz",
    "field.phase": "rad",
}
"""Units of the command channels that have the same unit in every laboratory."""


@dataclass(frozen=True)
class Channel:
    """One array of every frame: its shape, its type (NumPy's name), its unit ("" for none)."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    unit: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(length) for length in self.shape))


def channels_like(example: Mapping[str, Any]) -> dict[str, Channel]:
    """Describe the arrays of an example: None is left out, an inner mapping gets a dot in the name.

    >>> channels_like({"speed": np.zeros(3, "float32"), "power": None})
    {'speed': Channel(shape=(3,), dtype='float32', unit='um s-1')}
    """
    return {
        name: Channel(array.shape, array.dtype.name, CHANNEL_UNITS.get(name, ""))
        for name, array in flatten(example).items()
    }


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Turn nested mappings into one with dotted names and NumPy arrays; None is left out."""
    result: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        if value is None:
            continue
        if isinstance(value, Mapping):
            result.update(flatten(value, f"{prefix}{name}."))
        else:
            result[f"{prefix}{name}"] = np.asarray(value)
    return result


@dataclass(frozen=True)
class TrajectorySpec:
    """What a trajectory records; fixed from its first frame to its last.

    Attributes:
        colloids: N, the number of slots.
        size: [D] µm, lengths of the box; D = 2 or 3.
        periodic: [D], which axes are periodic.
        dtype: "float32" or "float64", of positions, velocities, directors and rewards.
        commands: the command channels; each is recorded twice, as requested and as applied.
        observables: further arrays of every frame.
        metadata: plain data (seeds, configuration, versions), written as JSON.
        bodies: name of every rigid body, M of them.
        bead_radius: [B] µm, of the beads of all bodies.
        body_of_bead: [B], index of the body that a bead belongs to.
    """

    colloids: int
    size: tuple[float, ...]
    periodic: tuple[bool, ...]
    dtype: str = "float32"
    commands: Mapping[str, Channel] = field(default_factory=dict)
    observables: Mapping[str, Channel] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    bodies: tuple[str, ...] = ()
    bead_radius: tuple[float, ...] = ()
    body_of_bead: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(float(length) for length in self.size))
        object.__setattr__(self, "periodic", tuple(bool(flag) for flag in self.periodic))
        object.__setattr__(self, "bodies", tuple(str(name) for name in self.bodies))
        object.__setattr__(self, "bead_radius", tuple(float(x) for x in self.bead_radius))
        object.__setattr__(self, "body_of_bead", tuple(int(index) for index in self.body_of_bead))
        self._check_bodies()
        if self.colloids < 1:
            raise RecordError(f"trajectory: {self.colloids} colloids; at least 1 is needed.")
        if len(self.size) not in (2, 3) or len(self.periodic) != len(self.size):
            raise RecordError(
                f"trajectory: box size {self.size} and periodic "
                f"{self.periodic}; give 2 or 3 of both."
            )
        if not all(np.isfinite(length) and length > 0 for length in self.size):
            raise RecordError(
                f"trajectory: box size {self.size}; lengths must be positive and finite."
            )
        if self.dtype not in ("float32", "float64"):
            raise RecordError(f"trajectory: dtype {self.dtype!r}; allowed: float32, float64.")
        for name, channel in [*self.commands.items(), *self.observables.items()]:
            if not _NAME.fullmatch(name) or name == "value":
                raise RecordError(f"trajectory: {name!r} is no name; use letters, digits and dots.")
            if np.dtype(channel.dtype).kind not in "biuf":
                raise RecordError(
                    f"trajectory: {name!r} is {channel.dtype}; use bool, integers or floats."
                )
        if taken := _RESERVED & set(self.observables):
            raise RecordError(
                f"trajectory: the name {sorted(taken)[0]!r} is taken; rename the observable."
            )

    def _check_bodies(self) -> None:
        owners = set(self.body_of_bead)
        if len(self.bead_radius) != len(self.body_of_bead):
            raise RecordError(
                f"trajectory: {len(self.bead_radius)} bead radii, but the bodies of "
                f"{len(self.body_of_bead)} beads; give one of both per bead."
            )
        if owners != set(range(len(self.bodies))):
            raise RecordError(
                f"trajectory: the beads belong to the bodies {sorted(owners)}, but there are "
                f"{len(self.bodies)} of them; every body needs a bead, and every bead a body."
            )

    @property
    def dimension(self) -> int:
        """D, 2 or 3."""
        return len(self.size)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrajectorySpec:
        """Build it from what `to_dict` gave, also after JSON."""
        values = dict(data)
        for group in ("commands", "observables"):
            values[group] = {
                name: Channel(tuple(item["shape"]), item["dtype"], item["unit"])
                for name, item in values[group].items()
            }
        return cls(**values)

    def difference(self, other: TrajectorySpec) -> str:
        """Say in what the two differ, metadata apart; "" if one trajectory may hold both."""
        differing = []
        for item in dataclasses.fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            if item.name != "metadata" and mine != theirs:
                differing.append(f"{item.name} {theirs!r} instead of {mine!r}")
        return "; ".join(differing)


@dataclass(frozen=True)
class Field:
    """One array of a frame.

    Attributes:
        name: as in the frame; commands are "requested.x" and "applied.x", others "observables.x".
        place: the H5MD element below the root.
        shape, dtype: as given by the user, lengths in µm.
        unit: of the user's arrays.
        file_unit, scale: in the file, value = user's value x scale.
        fill: value where nothing was given.
        vector: whether the last axis has D entries, which H5MD readers want as 3.
    """

    name: str
    place: str
    shape: tuple[int, ...]
    dtype: str
    unit: str = ""
    file_unit: str = ""
    scale: float = 1.0
    fill: float = 0.0
    vector: bool = False


def fields_of(spec: TrajectorySpec) -> tuple[Field, ...]:
    """Return the arrays of a frame, in their order in a record."""
    n, d, kind = spec.colloids, spec.dimension, spec.dtype
    particles, observables = "particles/trajectory", "observables"
    nan = float("nan")
    standard = [
        Field("time", "", (), "float64", "s", "s", fill=nan),
        Field("step", f"{observables}/swarm_step", (), "int64"),
        Field("episode", f"{observables}/episode", (), "int32"),
        Field("position", f"{particles}/position", (n, d), kind, "um", "nm", 1e3, nan, vector=True),
        # MDAnalysis knows no nm s-1.
        Field(
            "velocity",
            f"{particles}/velocity",
            (n, d),
            kind,
            "um s-1",
            "m s-1",
            1e-6,
            nan,
            vector=True,
        ),
        Field("director", f"{particles}/director", (n, d), kind, fill=nan, vector=True),
        Field("identity", f"{particles}/id", (n,), "int32", fill=-1),
        Field("species", f"{particles}/species", (n,), "int32"),
        Field("present", f"{particles}/present", (n,), "bool", fill=1),
        Field("oriented", f"{particles}/oriented", (n,), "bool", fill=1),
        Field("controllable", f"{particles}/controllable", (n,), "bool", fill=1),
        Field("reward", f"{observables}/reward", (n,), kind, fill=nan),
    ]
    for group, channels in (
        ("requested", spec.commands),
        ("applied", spec.commands),
        ("observables", spec.observables),
    ):
        for name, channel in channels.items():
            place = (
                f"{observables}/{name}"
                if group == "observables"
                else f"{observables}/{group}/{name}"
            )
            fill = nan if np.dtype(channel.dtype).kind == "f" else 0.0
            standard.append(
                Field(
                    f"{group}.{name}",
                    place,
                    channel.shape,
                    channel.dtype,
                    channel.unit,
                    channel.unit,
                    fill=fill,
                )
            )
    return (*standard, *_body_fields(spec))


BODIES, BEADS = "particles/trajectory_bodies", "particles/trajectory_beads"
"""Groups of the rigid bodies; readers that take the first group by name still find the colloids."""


def _body_fields(spec: TrajectorySpec) -> tuple[Field, ...]:
    if not spec.bodies:
        return ()
    m, b, d, kind, nan = (
        len(spec.bodies),
        len(spec.bead_radius),
        spec.dimension,
        spec.dtype,
        float("nan"),
    )
    turn, rate, angle = ((m,), (m,), "rad") if d == 2 else ((m, 4), (m, 3), "")

    def vectors(
        name: str, place: str, count: int, unit: str, file_unit: str, scale: float
    ) -> Field:
        shape = (count, d)
        return Field(f"bodies.{name}", place, shape, kind, unit, file_unit, scale, nan, vector=True)

    return (
        vectors("centre", f"{BODIES}/position", m, "um", "nm", 1e3),
        Field("bodies.orientation", f"{BODIES}/orientation", turn, kind, angle, angle, fill=nan),
        vectors("velocity", f"{BODIES}/velocity", m, "um s-1", "m s-1", 1e-6),
        Field(
            "bodies.angular_velocity",
            f"{BODIES}/angular_velocity",
            rate,
            kind,
            "rad s-1",
            "rad s-1",
            fill=nan,
        ),
        vectors("bead", f"{BEADS}/position", b, "um", "nm", 1e3),
        vectors("bead_force", f"{BEADS}/force", b, "pN", "pN", 1.0),
    )


def body_layout(names: Sequence[str], bodies: Any) -> dict[str, Any]:
    """Keys of a TrajectorySpec for rigid bodies with these names; `bodies` as in SwarmState, or
    None.
    """
    if bodies is None:
        return {}
    return {
        "bodies": tuple(names),
        "bead_radius": tuple(np.asarray(bodies.bead_radius).tolist()),
        "body_of_bead": tuple(np.asarray(bodies.body_of_bead).tolist()),
    }


def body_frame(bodies: Any, size: Sequence[float]) -> dict[str, np.ndarray] | None:
    """What a frame holds of rigid bodies, unwrapped; `bodies` as in SwarmState, or None."""
    if bodies is None:
        return None
    centre = np.asarray(bodies.centre)
    shift = (np.asarray(bodies.image) * np.asarray(size)).astype(centre.dtype)
    return {
        "centre": centre + shift,
        "orientation": np.asarray(bodies.angle),
        "velocity": np.asarray(bodies.velocity),
        "angular_velocity": np.asarray(bodies.angular_velocity),
        "bead": np.asarray(bodies.bead) + shift[np.asarray(bodies.body_of_bead)],
        "bead_force": np.asarray(bodies.bead_force),
    }


def payload_dtype(spec: TrajectorySpec) -> np.dtype[Any]:
    """Return the structured type of one frame, without padding, little-endian."""
    return np.dtype(
        [(f.name, np.dtype(f.dtype).newbyteorder("<"), f.shape) for f in fields_of(spec)]
    )


class FrameEncoder:
    """Turns frames (mappings of arrays) into records, and refuses what does not fit."""

    def __init__(self, spec: TrajectorySpec) -> None:
        self._fields = {f.name: f for f in fields_of(spec)}
        self._blank = np.zeros((), payload_dtype(spec))
        for f in self._fields.values():
            self._blank[f.name] = f.fill
        self._blank["identity"] = np.arange(spec.colloids)

    def encode(self, frame: Mapping[str, Any]) -> np.ndarray:
        """Return the structured [] record of a frame; rows that are not present become NaN and -1.

        Raises RecordError for an unknown name, a missing time, step or position, a wrong shape or
        type.
        """
        record = self._blank.copy()
        given = flatten(frame)
        for name in ("time", "step", "position"):
            if name not in given:
                raise RecordError(f"trajectory: a frame needs {name!r}; given: {sorted(given)}.")
        for name, array in given.items():
            record[name] = self._fit(name, array)
        absent = ~record["present"]
        for name in ("position", "velocity", "director"):
            record[name][absent] = np.nan
        record["identity"][absent] = -1
        return record

    def _fit(self, name: str, array: np.ndarray) -> np.ndarray:
        f = self._fields.get(name)
        if f is None:
            raise RecordError(
                f"trajectory: the frame has {name!r}, which the specification does not. "
                f"{nearest(name, self._fields)}"
            )
        if array.shape != f.shape:
            raise RecordError(
                f"trajectory: {name!r} has shape {array.shape}; expected {f.shape}. "
                "Absent colloids keep their row: mark them in 'present'."
            )
        target = np.dtype(f.dtype)
        if array.dtype.kind not in "biuf" or not np.can_cast(array.dtype, target, "same_kind"):
            raise RecordError(f"trajectory: {name!r} is {array.dtype}; expected {target}.")
        with np.errstate(over="ignore"):
            fitted = array.astype(target)
        exact = target.kind not in "iu" or np.array_equal(fitted, array)
        if not exact or (target.kind == "f" and np.any(np.isinf(fitted) & np.isfinite(array))):
            raise RecordError(f"trajectory: {name!r} has values beyond the range of {target}.")
        return fitted
