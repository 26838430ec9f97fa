"""What was written is what is read, from journal and H5MD alike; nothing is overwritten."""

import dataclasses
import json
import re
import warnings

import h5py
import numpy as np
import pytest

from swarmctl.core.errors import RecordError
from swarmctl.records import journal as journal_module
from swarmctl.records import store, trajectory
from swarmctl.records.layout import fields_of
from swarmctl.records.trajectory import (
    Channel,
    TrajectorySpec,
    TrajectoryWriter,
    body_frame,
    body_layout,
    channels_like,
    export_trajectory,
    find_journals,
    read_trajectory,
    repair,
    segments,
)

N = 3


def make_spec(dimension=2, dtype="float32", **changes):
    values = {
        "colloids": N,
        "size": (100.0, 80.0, 60.0)[:dimension],
        "periodic": (True, False, True)[:dimension],
        "dtype": dtype,
        "commands": {
            "speed": Channel((N,), "float32", "um s-1"),
            "has_heading": Channel((N,), "bool"),
            "field.amplitude": Channel((dimension,), "float64"),
        },
        "observables": {"concentration": Channel((N, 2)), "late": Channel((), "int32")},
        "metadata": {"seeds": [1, 2], "config": {"radius": "2.14 um"}, "author": "A. Nother"},
    }
    return TrajectorySpec(**{**values, **changes})


def make_frame(k, dimension=2, dtype="float32"):
    draw = np.random.default_rng(k)
    return {
        "time": k * 0.1,
        "step": 10 * (k % 4),
        "episode": k // 4,
        "position": (draw.normal(0, 1e4, (N, dimension))).astype(dtype),
        "velocity": draw.normal(0, 5, (N, dimension)).astype(dtype),
        "director": draw.normal(0, 1, (N, dimension)).astype(dtype),
        "identity": np.array([7, 8, 9 + k]),
        "species": np.array([0, 1, 0]),
        "present": np.array([True, k % 2 == 0, True]),
        "oriented": np.array([True, True, False]),
        "controllable": np.array([False, True, True]),
        "reward": draw.normal(size=N).astype(dtype),
        "requested": {
            "speed": draw.normal(size=N).astype("float32"),
            "has_heading": draw.random(N) < 0.5,
            "field": {"amplitude": draw.normal(size=dimension)},
        },
        "applied": None if k == 0 else {"speed": draw.normal(size=N)},
        "observables": {"concentration": draw.random((N, 2)), "late": k},
    }


def write(path, count, spec=None, start=0, **options):
    spec = spec or make_spec()
    with TrajectoryWriter(path, spec, **options) as writer:
        for k in range(start, start + count):
            assert writer.write(make_frame(k, spec.dimension, spec.dtype)) == k
    return spec


def check(read, count, dimension=2, dtype="float32", ulps=0):
    assert len(read) == count
    np.testing.assert_array_equal(read.frame, np.arange(count))
    for k in range(count):
        frame = make_frame(k, dimension, dtype)
        assert read.time[k] == frame["time"]
        assert (read.step[k], read.episode[k]) == (frame["step"], frame["episode"])
        present = frame["present"]
        np.testing.assert_array_equal(read.present[k], present)
        for name in ("position", "velocity", "director"):
            values = getattr(read, name)[k]
            assert values.dtype == dtype
            np.testing.assert_array_max_ulp(values[present], frame[name][present], max(ulps, 0))
            assert np.isnan(values[~present]).all()
        np.testing.assert_array_equal(read.identity[k], np.where(present, frame["identity"], -1))
        for name in ("species", "oriented", "controllable", "reward"):
            np.testing.assert_array_equal(getattr(read, name)[k], frame[name])
        requested = frame["requested"]
        np.testing.assert_array_equal(read.requested["speed"][k], requested["speed"])
        np.testing.assert_array_equal(read.requested["has_heading"][k], requested["has_heading"])
        np.testing.assert_array_equal(
            read.requested["field.amplitude"][k], requested["field"]["amplitude"]
        )
        applied = read.applied["speed"][k]
        if frame["applied"] is None:
            assert np.isnan(applied).all()
        else:
            np.testing.assert_array_equal(applied, frame["applied"]["speed"].astype("float32"))
        assert read.observables["late"][k] == k


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("per_segment", [1, 4, 100])
def test_float32_comes_back_bit_for_bit(tmp_path, dimension, per_segment):
    spec = write(tmp_path, 9, make_spec(dimension), frames_per_segment=per_segment)
    read = read_trajectory(tmp_path)
    check(read, 9, dimension)
    assert read.metadata == spec.metadata
    np.testing.assert_array_equal(read.size, spec.size)
    assert read.periodic == spec.periodic
    assert read.units["position"] == "um"
    assert read.units["requested.speed"] == "um s-1"
    assert read.notes == ()
    assert sum(item.frames for item in read.segments) == 9


def test_float64_comes_back_within_one_unit_in_the_last_place(tmp_path):
    write(tmp_path, 9, make_spec(3, "float64"))
    check(read_trajectory(tmp_path), 9, 3, "float64", ulps=1)


def test_names_of_segments_and_ways_to_name_a_trajectory(tmp_path):
    write(tmp_path / "deep" / "swim.h5md", 5, frames_per_segment=2)
    names = sorted(path.name for path in (tmp_path / "deep").iterdir())
    assert names == ["swim.0001.h5md", "swim.0002.h5md", "swim.h5md"]
    for name in ("swim", "swim.h5md", "swim.0002.h5md", "swim.part"):
        assert len(read_trajectory(tmp_path / "deep" / name)) == 5
    found = segments(tmp_path / "deep" / "swim")
    assert [(s.first_frame, s.last_frame, s.frames) for s in found] == [
        (0, 1, 2),
        (2, 3, 2),
        (4, 4, 1),
    ]
    assert [s.path.name for s in found] == ["swim.h5md", "swim.0001.h5md", "swim.0002.h5md"]


def test_what_is_left_out_has_a_declared_value(tmp_path):
    with TrajectoryWriter(tmp_path, make_spec()) as writer:
        writer.write({"time": 0.0, "step": 0, "position": np.zeros((N, 2))})
    read = read_trajectory(tmp_path)
    assert np.isnan(read.velocity).all()
    assert np.isnan(read.reward).all()
    assert np.isnan(read.requested["speed"]).all()
    assert read.present.all()
    np.testing.assert_array_equal(read.identity, [[0, 1, 2]])


def test_reading_while_writing(tmp_path):
    with TrajectoryWriter(tmp_path, make_spec(), frames_per_segment=3) as writer:
        assert len(read_trajectory(tmp_path)) == 0
        for k in range(8):
            writer.write(make_frame(k))
            check(read_trajectory(tmp_path), k + 1)
            assert writer.frames == k + 1
    check(read_trajectory(tmp_path), 8)
    assert not find_journals(tmp_path)


def test_a_reader_that_meets_the_closing_of_a_segment_sees_every_frame_once(tmp_path, monkeypatch):
    writer = TrajectoryWriter(tmp_path, make_spec())
    for k in range(4):
        writer.write(make_frame(k))
    original = trajectory.live_journal

    def read_then_close(files):
        content = original(files)
        writer.close()
        return content

    monkeypatch.setattr(trajectory, "live_journal", read_then_close)
    check(read_trajectory(tmp_path), 4)


def test_mdanalysis_sees_angstrom_and_picoseconds(tmp_path):
    MDAnalysis = pytest.importorskip("MDAnalysis")
    write(tmp_path, 5)
    universe = MDAnalysis.Universe(str(tmp_path / "trajectory.h5md"), to_guess=())
    assert universe.trajectory.n_frames == 5
    assert universe.trajectory.n_atoms == N
    for k, ts in enumerate(universe.trajectory):
        frame = make_frame(k)
        present = frame["present"]
        assert ts.time == pytest.approx(frame["time"] * 1e12)
        seen = ts.positions[present]
        np.testing.assert_allclose(seen[:, :2], frame["position"][present] * 1e4, rtol=1e-6)
        assert (seen[:, 2] == 0).all()
        assert np.isnan(ts.positions[~present]).all()
        # 1 µm/s = 1e4 Å / 1e12 ps
        np.testing.assert_allclose(
            ts.velocities[present][:, :2], frame["velocity"][present] * 1e-8, rtol=1e-6
        )
        np.testing.assert_allclose(ts.dimensions, [1e6, 8e5, 1e6, 90, 90, 90])
        assert ts.data["step"] == k
        assert ts.data["swarm_step"] == frame["step"]
        assert ts.data["late"] == k
        np.testing.assert_array_equal(
            ts.data["requested/field.amplitude"], frame["requested"]["field"]["amplitude"]
        )
    universe.trajectory.close()


def test_mdanalysis_chains_segments_and_opens_an_export(tmp_path):
    MDAnalysis = pytest.importorskip("MDAnalysis")
    write(tmp_path, 5, frames_per_segment=2)
    export_trajectory(tmp_path, tmp_path / "all.h5md")
    check(read_trajectory(tmp_path / "all.h5md"), 5)
    universe = MDAnalysis.Universe(str(tmp_path / "all.h5md"), to_guess=())
    assert universe.trajectory.n_frames == 5
    universe.trajectory.close()
    with pytest.raises(RecordError, match=r"all.h5md: exists already"):
        export_trajectory(tmp_path, tmp_path / "all.h5md")
    names = [str(item.path) for item in segments(tmp_path)]
    with warnings.catch_warnings():
        # MDAnalysis looks for a frame spacing that no H5MD reader of it gives.
        warnings.filterwarnings("ignore", "Reader has no dt information", UserWarning)
        chained = MDAnalysis.Universe(names[0], names, to_guess=())
        assert chained.trajectory.n_frames == 5
        for reader in chained.trajectory.readers:
            reader.close()


def test_h5md_1_1_structure(tmp_path):
    write(tmp_path, 3)
    with h5py.File(tmp_path / "trajectory.h5md") as file:
        assert list(file["h5md"].attrs["version"]) == [1, 1]
        assert file["h5md/author"].attrs["name"] == "A. Nother"
        assert file["h5md/creator"].attrs["name"] == "swarmctl"
        box = file["particles/trajectory/box"]
        assert box.attrs["dimension"] == 3
        assert list(box.attrs["boundary"]) == [b"periodic", b"none", b"none"]
        step = file["particles/trajectory/position/step"]
        assert (np.diff(step[:]) > 0).all()
        assert file["particles/trajectory/id/value"].fillvalue == -1
        for field in fields_of(make_spec()):
            if field.place:
                assert file[field.place]["value"].shape[0] == 3
                # The same object, not a copy of it.
                assert file[field.place]["step"] == step


def test_a_box_without_periodic_axis_has_no_edges(tmp_path):
    MDAnalysis = pytest.importorskip("MDAnalysis")
    write(tmp_path, 2, make_spec(periodic=(False, False)))
    universe = MDAnalysis.Universe(str(tmp_path / "trajectory.h5md"), to_guess=())
    assert universe.dimensions is None
    universe.trajectory.close()
    np.testing.assert_array_equal(read_trajectory(tmp_path).size, [100, 80])


def test_a_trajectory_is_never_overwritten(tmp_path):
    write(tmp_path, 3)
    with pytest.raises(
        RecordError, match=r"trajectory\.h5md: there is a trajectory already.*append"
    ):
        TrajectoryWriter(tmp_path, make_spec())
    check(read_trajectory(tmp_path), 3)


def test_append_goes_on_with_numbering(tmp_path):
    write(tmp_path, 3, append=True)
    write(tmp_path, 4, start=3, append=True, frames_per_segment=2)
    read = read_trajectory(tmp_path)
    check(read, 7)
    assert [item.frames for item in read.segments] == [3, 2, 2]


def test_append_refuses_another_specification(tmp_path):
    write(tmp_path, 3)
    other = dataclasses.replace(make_spec(), size=(100.0, 90.0))
    with pytest.raises(RecordError, match=r"cannot go on .* size \(100.0, 90.0\) instead of"):
        TrajectoryWriter(tmp_path, other, append=True)
    write(tmp_path, 1, make_spec(metadata={"seeds": [3]}), start=3, append=True)
    assert [s.metadata["seeds"] for s in segments(tmp_path)] == [[1, 2], [3]]


@pytest.mark.parametrize("append", [False, True])
def test_a_second_writer_is_refused(tmp_path, append):
    with TrajectoryWriter(tmp_path, make_spec()) as writer:
        writer.write(make_frame(0))
        with pytest.raises(RecordError, match=r"process \d+ is writing this trajectory.*Wait"):
            TrajectoryWriter(tmp_path, make_spec(), append=append)
        with pytest.raises(RecordError, match="is writing this trajectory; there is nothing"):
            repair(tmp_path)
        writer.write(make_frame(1))
    check(read_trajectory(tmp_path), 2)


def test_an_exception_in_the_statement_keeps_the_frames(tmp_path):
    def fail():
        with TrajectoryWriter(tmp_path, make_spec()) as writer:
            writer.write(make_frame(0))
            raise RuntimeError("lamp broke")

    with pytest.raises(RuntimeError, match="lamp broke"):
        fail()
    check(read_trajectory(tmp_path), 1)


def test_no_frame_leaves_no_file(tmp_path):
    write(tmp_path, 0)
    assert not list(tmp_path.iterdir())
    with pytest.raises(RecordError, match=r"trajectory\.h5md: no trajectory there"):
        read_trajectory(tmp_path)
    with pytest.raises(RecordError, match="no trajectory there"):
        repair(tmp_path / "nowhere" / "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": None}, "a frame needs 'position'"),
        ({"velocty": np.zeros((N, 2))}, "'velocty', which .* Did you mean 'velocity'"),
        ({"requested": {"sped": np.zeros(N)}}, "Did you mean 'requested.speed'"),
        ({"reward": np.zeros(N + 1)}, r"'reward' has shape \(4,\); expected \(3,\)"),
        ({"species": np.zeros(N)}, "'species' is float64; expected int32"),
        ({"identity": np.full(N, 2**40)}, "'identity' has values beyond the range of int32"),
        ({"position": np.full((N, 2), 1e300)}, "'position' has values beyond"),
        ({"present": np.array(["a"] * N)}, "'present' is <U1; expected bool"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused_and_nothing_is_lost(tmp_path, change, message):
    with TrajectoryWriter(tmp_path, make_spec()) as writer:
        writer.write(make_frame(0))
        with pytest.raises(RecordError, match=message):
            writer.write({**make_frame(1), **change})
        writer.write(make_frame(1))
    check(read_trajectory(tmp_path), 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colloids": 0}, "0 colloids"),
        ({"size": (1.0,)}, "give 2 or 3 of both"),
        ({"size": (1.0, float("inf"))}, "positive and finite"),
        ({"dtype": "float16"}, "allowed: float32, float64"),
        ({"observables": {"reward": Channel(())}}, "'reward' is taken"),
        ({"observables": {"a/b": Channel(())}}, "'a/b' is no name"),
        ({"commands": {"a": Channel((), "str")}}, "use bool, integers or floats"),
    ],
)
def test_a_specification_that_cannot_be_written_is_refused(change, message):
    with pytest.raises(RecordError, match=message):
        make_spec(**change)


def test_metadata_must_be_plain(tmp_path):
    with pytest.raises(RecordError, match=r"metadata: .* Give plain data"):
        TrajectoryWriter(tmp_path, make_spec(metadata={"x": object()}))
    assert not list(tmp_path.iterdir())


def test_large_metadata_come_back(tmp_path):
    metadata = {"config": "x" * 200_000, "sizes": np.arange(3)}
    write(tmp_path, 1, make_spec(metadata=metadata))
    assert read_trajectory(tmp_path).metadata == {"config": "x" * 200_000, "sizes": [0, 1, 2]}


def test_channels_like_an_example():
    channels = channels_like({"speed": np.zeros(2), "power": None, "field": {"phase": 1.0}})
    assert channels == {
        "speed": Channel((2,), "float64", "um s-1"),
        "field.phase": Channel((), "float64", "rad"),
    }


def test_closed_writers_and_odd_arguments(tmp_path):
    writer = TrajectoryWriter(tmp_path, make_spec())
    writer.close()
    writer.close()
    with pytest.raises(RecordError, match=r"this writer is closed. Open a new one"):
        writer.write(make_frame(0))
    with pytest.raises(RecordError, match="frames_per_segment is 0"):
        TrajectoryWriter(tmp_path, make_spec(), frames_per_segment=0)
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match=r"file/x: cannot be written|file: cannot be written"):
        TrajectoryWriter(tmp_path / "file" / "x" / "y", make_spec())


def test_damaged_missing_and_foreign_segments_are_named(tmp_path):
    write(tmp_path, 5, frames_per_segment=2)
    second = tmp_path / "trajectory.0001.h5md"
    data = second.read_bytes()
    second.write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordError, match=re.escape(str(second)) + ": cannot be read as H5MD"):
        read_trajectory(tmp_path)
    second.unlink()
    with pytest.raises(RecordError, match=re.escape(str(second)) + ": this segment is missing"):
        read_trajectory(tmp_path)
    with h5py.File(second, "w") as file:
        file["x"] = 1
    with pytest.raises(RecordError, match=r"0001.h5md: is an H5MD or HDF5 file of another program"):
        read_trajectory(tmp_path)
    (tmp_path / "trajectory.part").write_bytes(b"no journal, but some other bytes")
    with pytest.raises(RecordError, match=r"part: is not the journal of a trajectory.*move it"):
        read_trajectory(tmp_path)


def test_a_full_disk_loses_only_the_frame_in_hand(tmp_path, monkeypatch):
    original = journal_module.write_all

    def full(handle, data):
        original(handle, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with TrajectoryWriter(tmp_path, make_spec()) as writer:
        writer.write(make_frame(0))
        monkeypatch.setattr(journal_module, "write_all", full)
        with pytest.raises(RecordError, match=r"part: cannot be written \(No space left"):
            writer.write(make_frame(1))
        monkeypatch.setattr(journal_module, "write_all", original)
        assert len(read_trajectory(tmp_path)) == 1
        writer.write(make_frame(1))
    check(read_trajectory(tmp_path), 2)


def test_a_disk_too_full_to_close_a_segment_keeps_the_journal(tmp_path, monkeypatch):
    def full(path, _):
        raise RecordError(f"{path}: cannot be written (No space left on device).")

    writer = TrajectoryWriter(tmp_path, make_spec(), frames_per_segment=3)
    writer.write(make_frame(0))
    writer.write(make_frame(1))
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_segment", full)
        with pytest.raises(RecordError, match=r"No space left .* All frames are safe in .*part"):
            writer.write(make_frame(2))
    writer.close()
    check(read_trajectory(tmp_path), 3)
    assert repair(tmp_path).frames == 3
    check(read_trajectory(tmp_path), 3)


def with_bodies(dimension):
    """A spec with two bodies of three and two beads, and what frame k holds of them."""
    spec = make_spec(
        dimension, bodies=("rod", "disc"), bead_radius=(2, 2, 2, 1, 1), body_of_bead=(0, 0, 0, 1, 1)
    )

    def bodies(k):
        draw = np.random.default_rng(1000 + k)
        turn = (2, 4) if dimension == 3 else (2,)
        rate = (2, 3) if dimension == 3 else (2,)
        shapes = {
            "centre": (2, dimension),
            "orientation": turn,
            "velocity": (2, dimension),
            "angular_velocity": rate,
            "bead": (5, dimension),
            "bead_force": (5, dimension),
        }
        return {n: draw.normal(0, 100, s).astype("float32") for n, s in shapes.items()}

    return spec, bodies


@pytest.mark.parametrize("dimension", [2, 3])
def test_bodies_come_back_bit_for_bit_from_journal_and_file(tmp_path, dimension):
    spec, bodies = with_bodies(dimension)

    def same(read, count):
        check(read, count, dimension)
        assert read.bodies.name == ("rod", "disc")
        np.testing.assert_array_equal(read.bodies.bead_radius, [2, 2, 2, 1, 1])
        np.testing.assert_array_equal(read.bodies.body_of_bead, [0, 0, 0, 1, 1])
        for k in range(count):
            for name, values in bodies(k).items():
                np.testing.assert_array_equal(getattr(read.bodies, name)[k], values)

    with TrajectoryWriter(tmp_path, spec, frames_per_segment=3) as writer:
        for k in range(4):
            writer.write({**make_frame(k, dimension), "bodies": bodies(k)})
        same(read_trajectory(tmp_path), 4)
    same(read_trajectory(tmp_path), 4)
    assert read_trajectory(tmp_path).units["bodies.bead_force"] == "pN"
    with TrajectoryWriter(tmp_path, spec, append=True) as writer:
        writer.write({**make_frame(4, dimension), "bodies": None})
    assert np.isnan(read_trajectory(tmp_path).bodies.bead[4]).all()


def test_bodies_have_h5md_groups_and_mdanalysis_still_opens_the_colloids(tmp_path):
    spec, bodies = with_bodies(2)
    with TrajectoryWriter(tmp_path, spec) as writer:
        for k in range(3):
            writer.write({**make_frame(k), "bodies": bodies(k)})
    with h5py.File(tmp_path / "trajectory.h5md") as file:
        # Readers take the first group by name.
        assert next(iter(file["particles"])) == "trajectory"
        beads, found = file["particles/trajectory_beads"], file["particles/trajectory_bodies"]
        for group in (beads, found):
            assert group["box"].attrs["dimension"] == 3
            assert group["position/step"] == file["particles/trajectory/position/step"]
        assert list(found["name"]) == [b"rod", b"disc"]
        assert list(beads["body"]) == [0, 0, 0, 1, 1]
        assert list(beads["radius"]) == [2000, 2000, 2000, 1000, 1000]
        assert beads["radius"].attrs["unit"] == "nm"
        np.testing.assert_allclose(
            beads["position/value"][1, :, :2], bodies(1)["bead"] * 1e3, rtol=1e-6
        )
    MDAnalysis = pytest.importorskip("MDAnalysis")
    universe = MDAnalysis.Universe(str(tmp_path / "trajectory.h5md"), to_guess=())
    assert universe.trajectory.n_atoms == N
    assert universe.trajectory.n_frames == 3
    universe.trajectory.close()


def test_a_record_from_before_there_were_bodies_still_reads(tmp_path):
    write(tmp_path, 3)
    path = tmp_path / "trajectory.h5md"
    with h5py.File(path, "r+") as file:
        old = json.loads(file["parameters/swarmctl/specification"][()])
        for name in ("bodies", "bead_radius", "body_of_bead"):
            del old[name]
        del file["parameters/swarmctl/specification"]
        file["parameters/swarmctl/specification"] = json.dumps(old)
    check(read_trajectory(path), 3)
    assert read_trajectory(path).bodies is None


def test_beads_and_bodies_must_match():
    for changes, words in (
        ({"bead_radius": (1.0,)}, "1 bead radii, but the bodies of 0 beads"),
        ({"bodies": ("rod",)}, "there are 1 of them; every body needs a bead"),
        ({"bead_radius": (1.0,), "body_of_bead": (0,)}, r"belong to the bodies \[0\], but there"),
    ):
        with pytest.raises(RecordError, match=words):
            make_spec(**changes)


def test_what_an_engine_shows_of_bodies_is_unwrapped():
    class Seen:
        centre = np.float32([[95, 10], [5, 5]])
        image = np.int32([[-1, 0], [0, 2]])
        angle = velocity = angular_velocity = np.zeros(2, "float32")
        bead = np.float32([[93, 10], [97, 10], [5, 5]])
        bead_radius = np.float32([2, 2, 3])
        body_of_bead = np.int32([0, 0, 1])
        bead_force = np.zeros((3, 2), "float32")

    frame = body_frame(Seen, (100.0, 80.0))
    np.testing.assert_array_equal(frame["centre"], [[-5, 10], [5, 165]])
    np.testing.assert_array_equal(frame["bead"], [[-7, 10], [-3, 10], [5, 165]])
    assert body_layout(("a", "b"), Seen)["body_of_bead"] == (0, 0, 1)
    assert body_layout((), None) == {}
    assert body_frame(None, (1.0, 1.0)) is None
