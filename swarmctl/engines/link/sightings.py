"""What a laboratory reports: where its colloids are, checked before anybody uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swarmctl.core.errors import ConfigError, LinkError, nearest

COLUMNS = ("x", "y", "theta", "id", "type", "-")
"""What a column of a laboratory's table may hold; "-" is read and left unused."""
ID_MAX = 2**31 - 1


@dataclass(frozen=True)
class Sighting:
    """What was seen at one time: R rows in the laboratory's order.

    Attributes:
        label: f64 [R], the id as it was sent, for the answer.
        identity: i64 [R], the id from 0 on; -1 where a lost colloid has none.
        position: f64 [R,2] in the laboratory's unit of length.
        angle: f64 [R] rad, NaN where the orientation was not seen.
        type: i64 [R], the laboratory's number of the kind of colloid; -1 where it is not told.
        present: bool [R], False for rows of lost colloids.
        controllable: bool [R], False for stuck or excluded ones.
    """

    label: np.ndarray
    identity: np.ndarray
    position: np.ndarray
    angle: np.ndarray
    type: np.ndarray
    present: np.ndarray
    controllable: np.ndarray

    @property
    def count(self) -> int:
        """Number of rows R."""
        return len(self.label)


def check_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the names of columns. Raises ConfigError for unknown, missing or repeated ones."""
    for name in columns:
        if name not in COLUMNS:
            raise ConfigError(f"link: unknown column {name!r}. {nearest(name, COLUMNS)}")
    named = [name for name in columns if name != "-"]
    missing = [name for name in ("x", "y", "theta", "id") if name not in named]
    if missing or len(set(named)) != len(named):
        raise ConfigError(
            f"link: columns {tuple(columns)} must hold x, y, theta and id once each, type at most "
            'once, and "-" for what is not used.'
        )
    return tuple(columns)


def sighting_of_table(table: np.ndarray, columns: Sequence[str], lost: bool) -> Sighting:
    """Turn a table f64 [R,C] into a sighting.

    With `lost`, a row with NaN among x, y, theta and id is a lost colloid. Raises LinkError for
    numbers that are not finite elsewhere, for ids that are no whole numbers, and for two rows of
    one id.
    """
    column = {name: table[:, i] for i, name in enumerate(columns) if name != "-"}
    needed = np.stack([column[name] for name in ("x", "y", "theta", "id")])
    present = ~np.isnan(needed).any(axis=0)
    if not lost and not present.all():
        raise LinkError(
            f"the laboratory sent NaN in row {int((~present).argmax())} of {len(table)}; a "
            "laboratory that marks lost colloids so needs the protocol 'lost-as-nan'."
        )
    if np.isinf(needed).any():
        row = int(np.isinf(needed).any(axis=0).argmax())
        raise LinkError(f"the laboratory sent an infinite number in row {row} of {len(table)}.")
    known = ~np.isnan(column["id"])
    kinds = column.get("type", np.full(len(table), -1.0))
    return make_sighting(
        label=column["id"].copy(),
        identity=_whole(np.where(known, column["id"], -1.0), "id", known),
        position=np.stack([column["x"], column["y"]], axis=1),
        angle=column["theta"].copy(),
        type=_whole(np.where(present, kinds, -1.0), "type", present & ("type" in column)),
        present=present,
        controllable=present.copy(),
    )


def make_sighting(
    label: np.ndarray,
    identity: np.ndarray,
    position: np.ndarray,
    angle: np.ndarray,
    type: np.ndarray,
    present: np.ndarray,
    controllable: np.ndarray,
) -> Sighting:
    """Return a sighting. Raises LinkError for two rows of one id, or a position that is not
    finite.
    """
    known = identity[identity >= 0]
    values, counts = np.unique(known, return_counts=True)
    if (counts > 1).any():
        raise LinkError(f"the laboratory sent the id {values[counts.argmax()]} twice in one state.")
    if not np.isfinite(position[present]).all():
        raise LinkError("the laboratory sent a position that is not finite.")
    if np.isinf(angle).any():
        raise LinkError("the laboratory sent an infinite angle.")
    return Sighting(label, identity, position, angle, type, present, controllable)


def _whole(values: np.ndarray, name: str, counts: np.ndarray) -> np.ndarray:
    """Whole numbers from 0 on where `counts` holds, as i64."""
    with np.errstate(invalid="ignore"):
        bad = counts & ~((values >= 0) & (values <= ID_MAX) & (values == np.floor(values)))
    if bad.any():
        raise LinkError(
            f"the laboratory sent the {name} {values[bad.argmax()]:g}; it must be a whole number "
            f"from 0 to {ID_MAX}."
        )
    return values.astype(np.int64)
