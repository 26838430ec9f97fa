"""Closed segments of a trajectory: H5MD 1.1 files that MDAnalysis opens."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from swarmctl.core.errors import RecordError
from swarmctl.core.files import replacing
from swarmctl.records.files import plain
from swarmctl.records.layout import (
    BEADS,
    BODIES,
    Field,
    TrajectorySpec,
    fields_of,
    payload_dtype,
)


@dataclass(frozen=True)
class SegmentContent:
    """What a segment holds: its place in the trajectory, frame numbers i64 [T], frames [T]."""

    index: int
    spec: TrajectorySpec
    frames: np.ndarray
    payload: np.ndarray


def write_segment(path: Path, content: SegmentContent) -> None:
    """Write a closed H5MD file whole or not at all: lengths in nm, velocities in m/s, times in s.

    Two dimensions become three with z = 0, as readers of H5MD want. Raises RecordError if it cannot
    be written.
    """
    import h5py

    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        spec = content.spec
        _write_heading(file, spec)
        parameters = file.create_group("parameters/swarmctl")
        parameters.attrs["index"] = content.index
        parameters["specification"] = json.dumps(spec.to_dict(), default=plain)
        parameters["metadata"] = json.dumps(dict(spec.metadata), default=plain)
        _write_frames(file, content)


def _write_heading(file: Any, spec: TrajectorySpec) -> None:
    h5md = file.create_group("h5md")
    h5md.attrs["version"] = np.array([1, 1], "int32")
    author = h5md.create_group("author")
    author.attrs["name"] = str(spec.metadata.get("author", "unknown"))
    creator = h5md.create_group("creator")
    creator.attrs["name"] = "swarmctl"
    creator.attrs["version"] = importlib.metadata.version("swarmctl")


def _write_frames(file: Any, content: SegmentContent) -> None:
    spec, payload = content.spec, content.payload
    shared: dict[str, Any] = {}
    particles = file.create_group("particles/trajectory")
    for f in fields_of(spec):
        if not f.place:
            continue
        group = file.create_group(f.place)
        fill = {"fillvalue": -1} if f.name == "identity" else {}
        dataset = group.create_dataset("value", data=_to_file(f, payload[f.name]), **fill)
        if f.file_unit:
            dataset.attrs["unit"] = f.file_unit
        if not shared:
            # One pair for all elements: they are sampled together.
            shared["step"] = file.create_dataset("step", data=content.frames)
            shared["time"] = file.create_dataset("time", data=payload["time"])
            shared["time"].attrs["unit"] = "s"
            del file["step"], file["time"]
        group["step"], group["time"] = shared["step"], shared["time"]
    _write_box(particles.create_group("box"), spec, len(payload), shared)
    if spec.bodies:
        bodies, beads = file[BODIES], file[BEADS]
        bodies.create_dataset("name", data=np.array(spec.bodies, "S"))
        radius = beads.create_dataset("radius", data=np.array(spec.bead_radius) * 1e3)
        radius.attrs["unit"] = "nm"
        beads.create_dataset("body", data=np.array(spec.body_of_bead, "int32"))
        for group in (bodies, beads):
            _write_box(group.create_group("box"), spec, len(payload), shared)


def _write_box(box: Any, spec: TrajectorySpec, count: int, shared: dict[str, Any]) -> None:
    flags = [*spec.periodic, *[False] * (3 - spec.dimension)]
    box.attrs["dimension"] = 3
    box.attrs["boundary"] = np.array(["periodic" if flag else "none" for flag in flags], dtype="S8")
    if not any(flags):
        # Readers take any edges for those of a periodic box.
        return
    # In a plane the third edge is free; a zero would make readers drop the whole box.
    edges = [*spec.size, *[max(spec.size)] * (3 - spec.dimension)]
    group = box.create_group("edges")
    value = group.create_dataset("value", data=np.tile(np.array(edges) * 1e3, (count, 1)))
    value.attrs["unit"] = "nm"
    group["step"], group["time"] = shared["step"], shared["time"]


def _to_file(f: Field, values: np.ndarray) -> np.ndarray:
    if f.scale != 1.0:
        values = values.astype("float64") * f.scale
    if f.vector and values.shape[-1] == 2:
        third = np.where(np.isnan(values[..., :1]), np.nan, 0.0).astype(values.dtype)
        values = np.concatenate([values, third], axis=-1)
    return values


def read_segment(path: Path) -> SegmentContent:
    """Read a segment back, in µm. Positions that came as float32 are the same bit for bit.

    Raises RecordError if the file is missing, damaged or not written by swarmctl.
    """
    with _opened(path) as (file, heading):
        payload = np.zeros(len(heading.frames), payload_dtype(heading.spec))
        payload["time"] = file["particles/trajectory/position/time"][:]
        for f in fields_of(heading.spec):
            if f.place:
                payload[f.name] = _from_file(f, file[f.place]["value"][:])
        return dataclasses.replace(heading, payload=payload)


def read_heading(path: Path) -> SegmentContent:
    """Read what a segment is of; `payload` stays empty. Raises RecordError as `read_segment`."""
    with _opened(path) as (_, heading):
        return heading


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, SegmentContent]]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            parameters = file.get("parameters/swarmctl")
            if parameters is None:
                raise RecordError(
                    f"{path}: is an H5MD or HDF5 file of another program; only trajectories "
                    "that swarmctl wrote can be read here. Open it with MDAnalysis."
                )
            spec = TrajectorySpec.from_dict(json.loads(parameters["specification"][()]))
            frames = file["particles/trajectory/position/step"][:]
            index = int(parameters.attrs["index"])
            yield file, SegmentContent(index, spec, frames, np.zeros(0, payload_dtype(spec)))
    except RecordError:
        raise
    except FileNotFoundError as error:
        raise RecordError(f"{path}: no such file. Check the path.") from error
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        size = os.path.getsize(path)
        raise RecordError(
            f"{path}: cannot be read as H5MD ({size} bytes; {error}). It is damaged or "
            "no HDF5 file: use a copy, or move it away to read the other segments."
        ) from error


def _from_file(f: Field, values: np.ndarray) -> np.ndarray:
    if f.vector:
        values = values[..., : f.shape[-1]]
    return values / f.scale if f.scale != 1.0 else values
