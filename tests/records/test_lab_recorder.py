"""A lab run's folder: everything that happened, with masks, identities and real times."""

import errno
import json
import os
import subprocess
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest

from swarmctl.core.command import Command, FieldCommand
from swarmctl.core.errors import RecordError, RunFolderError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import SwarmState
from swarmctl.records.commands import command_arrays, command_of_arrays
from swarmctl.records.engine_table import engine_of_table
from swarmctl.records.images import ImageConfig
from swarmctl.records.lab_recorder import LabRecorder
from swarmctl.records.metrics import read_metrics
from swarmctl.records.run_folder import RunFolder, describe_run
from swarmctl.records.trajectory import read_trajectory

N = 3
SPEC = EngineSpec(
    name="bench",
    capacity=N,
    dimension=2,
    dtype="float32",
    species=("a",),
    species_of_slot=(0,) * N,
    radius=(1.0,),
    speed_min=(0.0,),
    speed_max=(5.0,),
    turn_rate_max=(2.0,),
    box=(100.0, 80.0),
    periodic=(False, False),
    control_interval=0.1,
    capabilities=frozenset({"speed", "turn_rate", "heading", "power", "spot_offset", "field"}),
    power_max=(1.0,),
    offset_max=(1.0,),
    field_max=(1.0, 1.0, 1.0),
)
TABLES = {"rig": {"camera": "mock", "seed": 3}, "experiment": {"scenario": {"name": "Swirl-v0"}}}
PRESENT = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
ORIENTED = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]], bool)
CONTROLLABLE = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 0], [1, 1, 1]], bool)
IDENTITY = np.array([[4, 7, -1], [4, 7, 8], [4, -1, 8], [4, 9, 8]], "int32")
TIMES = np.array([1000.0, 1000.1013, 1000.2377, 1000.3])  # as they come


def swarm(k):
    angle = jnp.asarray([0.1, 0.2, 0.3]) * (k + 1)
    return SwarmState(
        position=jnp.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]) + k,
        image=jnp.zeros((N, 2), jnp.int32),
        director=jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1),
        velocity=jnp.full((N, 2), 0.5 + k),
        angular_velocity=jnp.asarray([0.1, 0.2, 0.3]) + k,
        species=jnp.zeros(N, jnp.int32),
        identity=jnp.asarray(IDENTITY[k]),
        present=jnp.asarray(PRESENT[k]),
        oriented=jnp.asarray(ORIENTED[k]),
        controllable=jnp.asarray(CONTROLLABLE[k]),
        bodies=None,
        step=jnp.asarray(k, jnp.int32),
        time=jnp.asarray(TIMES[k] - TIMES[0], jnp.float32),
        interval=jnp.asarray(TIMES[k] - TIMES[k - 1] if k else 0.1, jnp.float32),
    )


def asked(k):
    return Command(speed=jnp.full(N, 9.0), turn_rate=jnp.full(N, 0.1 * k))


def done(k):
    return Command(speed=jnp.full(N, 5.0), turn_rate=jnp.full(N, 0.1 * k))


def record(recorder, count=4, offset=0):
    for k in range(count):
        recorder.step(
            swarm(k),
            asked(k) if k else None,
            done(k) if k else None,
            {"to_command": 0.004 + k / 1000, "to_light": None},
            time=TIMES[k],
            image=offset + 10 + k,
        )


def test_masks_identities_times_and_commands_come_back(tmp_path):
    with LabRecorder(tmp_path / "run", SPEC, TABLES) as recorder:
        record(recorder)
        record(recorder, 2)
    read = read_trajectory(tmp_path / "run")
    assert read.episode.tolist() == [0] * 4 + [1] * 2
    assert read.step.tolist() == [0, 1, 2, 3, 0, 1]
    np.testing.assert_array_equal(read.time[:4], TIMES)
    np.testing.assert_allclose(read.observables["interval"][1:4], np.diff(TIMES), rtol=1e-4)
    for name, truth in (
        ("present", PRESENT),
        ("oriented", ORIENTED),
        ("controllable", CONTROLLABLE),
        ("identity", np.where(PRESENT, IDENTITY, -1)),
    ):
        np.testing.assert_array_equal(getattr(read, name)[:4], truth, err_msg=name)
    assert np.isnan(read.position[:4][~PRESENT]).all()
    np.testing.assert_array_equal(read.position[3], np.asarray(swarm(3).position))
    turning = read.observables["angular_velocity"][2]
    np.testing.assert_array_equal(turning, np.asarray(swarm(2).angular_velocity))
    assert read.observables["image"].tolist() == [10, 11, 12, 13, 10, 11]
    for group, command in (("requested", asked), ("applied", done)):
        found = {name: values[2] for name, values in getattr(read, group).items()}
        again = command_of_arrays(found)
        assert again.channels == {"speed", "turn_rate"}
        np.testing.assert_array_equal(again.speed, np.asarray(command(2).speed))
        np.testing.assert_array_equal(again.turn_rate, np.asarray(command(2).turn_rate))
        first = {name: values[0] for name, values in getattr(read, group).items()}
        assert command_of_arrays(first).channels == frozenset()
    assert engine_of_table(read.metadata["engine"]) == SPEC
    assert read.metadata["experiment"] == TABLES["experiment"]
    run = RunFolder.open(tmp_path / "run")
    assert (run.status, run.info["verb"], run.config) == ("finished", "lab run", TABLES)
    assert run.info["kept"] == {"steps": 6, "lost": 0, "images": None, "fault": None}


def test_every_channel_comes_back(tmp_path):
    field = FieldCommand(
        bias=jnp.asarray([0.1, 0.2]),
        amplitude=jnp.asarray([0.3, 0.4]),
        axis=jnp.asarray([0.0, 0.0, 1.0]),
        frequency=jnp.asarray(2.0),
        phase=jnp.asarray(0.5),
        gradient=jnp.asarray([[0.1, 0.0], [0.0, -0.1]]),
    )
    full = Command(
        heading=jnp.asarray([[1.0, 0.0], [0.0, 1.0], [np.nan, np.nan]]),
        has_heading=jnp.asarray([True, True, False]),
        power=jnp.asarray([0.1, 0.2, 0.0]),
        spot_offset=jnp.ones((N, 2)),
        field=field,
    )
    with LabRecorder(tmp_path / "run", SPEC, TABLES) as recorder:
        recorder.step(swarm(0), None, None, {})
        recorder.step(swarm(1), full, full, {})
    applied = {k: v[1] for k, v in read_trajectory(tmp_path / "run").applied.items()}
    again = command_of_arrays(applied)
    assert again.channels == full.channels
    assert again.has_heading.tolist() == [True, True, False]
    np.testing.assert_array_equal(again.heading[:2], full.heading[:2])
    for name, values in command_arrays(full).items():
        if name not in ("heading", "has_heading"):
            np.testing.assert_array_equal(command_arrays(again)[name], values, err_msg=name)


def test_events_and_timing_are_lines_of_json(tmp_path):
    with LabRecorder(tmp_path / "run", SPEC, TABLES) as recorder:
        recorder.event("mode", mode="DRIVE", reason="armed", time=999.0)
        record(recorder)
        recorder.event("operator", what="stop", kind="emergency")
    events = read_metrics(tmp_path / "run" / "events.jsonl")
    assert [event["kind"] for event in events] == ["mode", "operator", "end"]
    assert (events[0]["time"], events[0]["mode"], events[0]["reason"]) == (999.0, "DRIVE", "armed")
    assert events[1]["kind_"] == "emergency"
    assert events[1]["time"] <= events[2]["time"] < 60
    assert all(event["at"].endswith("+00:00") for event in events)
    timing = read_metrics(tmp_path / "run" / "timing.jsonl")
    assert [row["frame"] for row in timing] == [0, 1, 2, 3]
    assert timing[2] == {
        "frame": 2,
        "time": TIMES[2],
        "step": 2,
        "image": 12,
        "to_command": 0.006,
        "to_light": None,
    }


def test_images_share_the_clock_of_the_steps(tmp_path):
    tifffile = pytest.importorskip("tifffile", reason="reading images needs the extra lab")
    config = ImageConfig(height=4, width=6)
    with LabRecorder(tmp_path / "run", SPEC, TABLES, images=config) as recorder:
        for k in range(4):
            assert recorder.frame(np.full((4, 6), k, "uint16"), TIMES[k], 10 + k)
        record(recorder)
    read = read_trajectory(tmp_path / "run")
    with tifffile.TiffFile(tmp_path / "run" / "images.ome.tif") as file:
        planes = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]["Plane"]
        numbers = [page.aspage().tags["ImageNumber"].value for page in file.series[0].pages]
    assert numbers == read.observables["image"].tolist()
    np.testing.assert_allclose([plane["DeltaT"] for plane in planes], read.time, atol=1e-6)
    assert RunFolder.open(tmp_path / "run").info["kept"]["images"]["written"] == 4
    assert describe_run(tmp_path / "run").repairs == ()
    images = tmp_path / "run" / "images.ome.tif"
    os.truncate(images, images.stat().st_size - 10)  # as a power cut may
    [done] = describe_run(tmp_path / "run").repairs
    assert done == f"{images}: dropped 1 planes that were not whole"
    assert tifffile.imread(images).shape == (3, 4, 6)


@pytest.mark.parametrize("file", ["timing", "events", "trajectory"])
def test_a_full_disk_is_a_fault_and_stops_nothing(tmp_path, monkeypatch, file):
    recorder = LabRecorder(tmp_path / "run", SPEC, TABLES)
    record(recorder, 2)
    assert recorder.status().fault is None
    true_write, full = os.write, []

    def write(handle, data):
        if full and os.readlink(f"/proc/self/fd/{handle}").rpartition("/")[2].startswith(file):
            raise OSError(errno.ENOSPC, "No space left on device")
        return true_write(handle, data)

    if not os.path.exists("/proc/self/fd"):
        pytest.skip("which file is written is seen in /proc")
    monkeypatch.setattr(os, "write", write)
    full.append(True)
    record(recorder, 2, offset=5)
    recorder.event("mode", mode="SAFE")
    status = recorder.status()
    assert "No space left" in status.fault
    assert status.lost == (1 if file == "events" else 2)
    full.clear()
    record(recorder, 1)
    status = recorder.close("the disk was full")
    run = RunFolder.open(tmp_path / "run")
    assert run.status == "failed"
    assert run.info["reason"].startswith("the disk was full; ")
    assert run.info["kept"]["lost"] == status.lost
    assert len(read_trajectory(tmp_path / "run")) == (3 if file == "trajectory" else 5)


LOOP = """
import sys
sys.path.insert(0, sys.argv[2])
from test_lab_recorder import SPEC, TABLES, TIMES, ImageConfig, LabRecorder, asked, done, np, swarm
images = ImageConfig(height=4, width=6)
recorder = LabRecorder(sys.argv[1], SPEC, TABLES, images=images)
recorder.step(swarm(0), None, None, {}, time=0.0)
for k in range(1, 10**9):
    while not recorder.frame(np.full((4, 6), k % 1000, "uint16"), k / 8, k):
        pass
    recorder.event("beat", k=k)
    recorder.step(swarm(1), asked(1), done(1), {"k": k}, time=k / 8, image=k)
    print(k, flush=True)
"""


def test_a_kill_loses_nothing_that_was_recorded(tmp_path):
    folder = tmp_path / "run"
    here = os.path.dirname(__file__)
    command = [sys.executable, "-W", "error", "-c", LOOP, str(folder), here]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as loop:
        first = loop.stdout.readline()
        time.sleep(0.1)
        loop.kill()
        lines = (first + loop.stdout.read()).split(b"\n")[:-1]
    last = int(lines[-1])
    summary = describe_run(folder)
    assert summary.status == "killed"
    assert any("closed" in text for text in summary.repairs)
    read = read_trajectory(folder)
    assert len(read) in (last + 1, last + 2)
    np.testing.assert_array_equal(read.time, np.arange(len(read)) / 8)
    assert [row["k"] for row in read_metrics(folder / "events.jsonl")][:last] == [
        *range(1, last + 1)
    ]
    assert len(read_metrics(folder / "timing.jsonl")) >= last + 1
    tifffile = pytest.importorskip("tifffile", reason="reading images needs the extra lab")
    deadline = time.monotonic() + 30
    while True:
        with tifffile.TiffFile(folder / "images.ome.tif") as file:
            found = file.asarray()[:, 0, 0]
        if len(found) >= last or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    np.testing.assert_array_equal(found[:last], np.arange(1, last + 1) % 1000)


def test_mistakes_are_errors_and_leave_no_lock(tmp_path):
    recorder = LabRecorder(tmp_path / "run", SPEC, TABLES)
    with pytest.raises(RecordError, match="keeps no images"):
        recorder.frame(np.zeros((4, 6), "uint16"), 0.0, 0)
    with pytest.raises(RecordError, match="shape"):
        recorder.step(swarm(0), Command(speed=jnp.ones(5)), None, {})
    with pytest.raises(RecordError, match="velocity"):
        recorder.step(swarm(0), Command(velocity=jnp.ones((N, 2))), None, {})
    assert recorder.status().fault is None
    recorder.close()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"
    with pytest.raises(RunFolderError, match="finished run"):
        LabRecorder(tmp_path / "run", SPEC, TABLES)
    with pytest.raises(RecordError, match="shared memory"):
        LabRecorder(
            tmp_path / "b", SPEC, TABLES, images=ImageConfig(height=2**20, width=2**20, slots=2000)
        )
    assert RunFolder.open(tmp_path / "b").status == "failed"
    with LabRecorder(tmp_path / "b", SPEC, TABLES, overwrite=True) as recorder:
        record(recorder)
    assert len(read_trajectory(tmp_path / "b")) == 4
