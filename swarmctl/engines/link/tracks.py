"""Colloids in slots: the same slot while they are seen, a new identity when they come back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarmctl.core.errors import LinkError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.wrapping import wrapped_angle, wrapped_position
from swarmctl.engines.link.sightings import Sighting


@dataclass(frozen=True)
class TrackView:
    """What is known of every slot: arrays of `SwarmState`, in f64 and i64.

    `ids` [N] are the laboratory's, -1 where nobody is seen; `slots` [R] is the slot of every row of
    the sighting, -1 for those without one.
    """

    position: np.ndarray
    image: np.ndarray
    director: np.ndarray
    velocity: np.ndarray
    angular_velocity: np.ndarray
    identity: np.ndarray
    present: np.ndarray
    oriented: np.ndarray
    controllable: np.ndarray
    ids: np.ndarray
    slots: np.ndarray
    left_out: int


class Tracks:
    """The slots of one episode.

    Args:
        spec: of the engine; box, periodic axes and species of the slots.
        types: the laboratory's number of every species.
        surplus_fault: whether more colloids than slots are a LinkError; else the newest are left
            out.
    """

    def __init__(self, spec: EngineSpec, types: tuple[int, ...], surplus_fault: bool) -> None:
        n = spec.capacity
        self._spec, self._types, self._surplus_fault = spec, types, surplus_fault
        self._box, self._periodic = np.asarray(spec.box), np.asarray(spec.periodic)
        self._species = np.asarray(spec.species_of_slot)
        self._id = np.full(n, -1)  # of the colloid that is or was in the slot
        self._slot_of: dict[int, int] = {}
        self._seen = np.full(n, -1)  # number of the sighting in which it was seen last
        self._identity = np.full(n, -1)
        self._unwrapped, self._position = np.zeros((n, 2)), np.zeros((n, 2))
        self._angle = np.full(n, np.nan)
        self._director = np.tile([1.0, 0.0], (n, 1))
        self._sightings = self._identities = 0

    def update(self, sighting: Sighting, interval: float) -> TrackView:
        """Take a sighting in µm, `interval` s after the last, and return what is known now.

        Velocities are differences over the interval, across periodic faces where that is shorter;
        they are 0 for colloids that were not seen before. Raises LinkError for types without a
        species and for a surplus that is a fault.
        """
        rows = np.flatnonzero(sighting.present)
        slots, fresh = self._assign(sighting, rows)
        slot_of_row = np.full(sighting.count, -1)
        slot_of_row[rows] = slots
        placed = slots >= 0
        rows, slots, fresh = rows[placed], slots[placed], fresh[placed]
        n = self._spec.capacity
        velocity, turning = np.zeros((n, 2)), np.zeros(n)
        raw, angle = sighting.position[rows], sighting.angle[rows]
        wrapped, _ = wrapped_position(raw, self._box, self._periodic, np.float64)
        step = wrapped - self._position[slots]
        step = np.where(self._periodic, step - self._box * np.round(step / self._box), step)
        velocity[slots] = np.where(fresh[:, None], 0, step / interval)
        turn = wrapped_angle(angle - self._angle[slots])
        turning[slots] = np.where(fresh | ~np.isfinite(turn), 0, turn / interval)
        self._unwrapped[slots] = np.where(fresh[:, None], raw, self._unwrapped[slots] + step)
        self._position[slots], self._angle[slots] = wrapped, angle
        seen = np.isfinite(angle)
        heading = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        self._director[slots] = np.where(seen[:, None], heading, self._director[slots])
        self._sightings += 1
        image = np.where(
            self._periodic, np.round((self._unwrapped - self._position) / self._box), 0
        )
        present = np.zeros(n, bool)
        present[slots] = True
        oriented, controllable = present.copy(), present.copy()
        oriented[slots], controllable[slots] = seen, sighting.controllable[rows]
        return TrackView(
            position=self._position.copy(),
            image=image.astype(int),
            director=self._director.copy(),
            velocity=velocity,
            angular_velocity=turning,
            identity=self._identity.copy(),
            present=present,
            oriented=oriented,
            controllable=controllable,
            ids=np.where(present, self._id, -1),
            slots=slot_of_row,
            left_out=int((~placed).sum()),
        )

    def _assign(self, sighting: Sighting, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (slot of every row or -1, whether it is a newcomer there)."""
        slots, fresh = np.full(len(rows), -1), np.zeros(len(rows), bool)
        ids, kinds = sighting.identity[rows], self._kinds(sighting.type[rows])
        own = np.array([self._slot_of.get(i, -1) for i in ids.tolist()], int)
        had = own >= 0
        fits = had & ((self._species[own] == kinds) | (kinds < 0))
        stays = fits & (self._seen[own] == self._sightings - 1)
        slots[stays] = own[stays]
        self._seen[own[stays]] = self._sightings
        taken = np.zeros(self._spec.capacity, bool)
        taken[own[stays]] = True
        # Those who return come before strangers.
        for at in sorted(np.flatnonzero(~stays), key=lambda at: (not fits[at], ids[at])):
            if taken.all():
                break
            slot = self._slot(int(own[at]) if fits[at] else -1, kinds[at], taken)
            if slot < 0:
                continue
            if own[at] != slot:
                self._move(int(ids[at]), slot)
            slots[at], taken[slot], fresh[at] = slot, True, True
            self._identity[slot], self._identities = self._identities, self._identities + 1
            self._seen[slot] = self._sightings
        if (slots < 0).any() and self._surplus_fault:
            raise LinkError(
                f"the laboratory sees {len(rows)} colloids, {int((slots < 0).sum())} more than "
                f"there are slots for (capacity {self._spec.capacity}); take a larger swarm, or "
                "say surplus='leave out'."
            )
        return slots, fresh

    def _slot(self, own: int, kind: int, taken: np.ndarray) -> int:
        """Its own slot, else one that nobody ever had, else the one that was left longest ago."""
        if own >= 0 and not taken[own]:
            return own
        free = np.flatnonzero(~taken & ((self._species == kind) | (kind < 0)))
        return int(free[np.argmin(self._seen[free])]) if len(free) else -1

    def _move(self, identity: int, slot: int) -> None:
        """Give a slot to a laboratory's id, and take it from whoever had it."""
        before = self._slot_of.pop(identity, -1)
        if before >= 0:
            self._id[before] = -1
        self._slot_of.pop(int(self._id[slot]), None)
        self._slot_of[identity], self._id[slot] = slot, identity

    def _kinds(self, types: np.ndarray) -> np.ndarray:
        """Index of the species of every row; -1 where it does not matter, as there is only one."""
        count = len(self._spec.species)
        if count == 1 and not self._types:
            return np.full(len(types), -1)
        numbers = self._types or tuple(range(count))
        kinds = np.array([numbers.index(t) if t in numbers else -1 for t in types.tolist()], int)
        if (kinds < 0).any():
            raise LinkError(
                f"the laboratory sent a colloid of the type {types[kinds < 0][0]}; the species "
                f"{', '.join(self._spec.species)} have the types {', '.join(map(str, numbers))} "
                "(-1: it told no type)."
            )
        return kinds
