"""Runs and recordings at a microscope, on a toy laboratory in lockstep."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("numba", reason="the extra 'vision' is not installed")

from swarmctl.bridge.microscope.engine import MicroscopeEngine
from swarmctl.bridge.microscope.parts import Parts
from swarmctl.bridge.orders import Standing
from swarmctl.bridge.rig import read_rig
from swarmctl.bridge.switch.microscope_plant import MicroscopePlant
from swarmctl.core.command import Command
from swarmctl.core.errors import ArmingError, ConfigError, RunFolderError
from swarmctl.core.world import Box, Species, World
from swarmctl.lab.configs import LabDemoConfig, RecordConfig, RunConfig
from swarmctl.lab.demo import demo
from swarmctl.lab.keys import Keys
from swarmctl.lab.record import record
from swarmctl.lab.run import run
from swarmctl.lab.session import Session
from swarmctl.records.trajectory import read_trajectory

KEYS = (
    "scenario.colloids=4",
    "scenario.radius=2 um",
    "scenario.speed=4 um/s",
    "scenario.turn_rate=1.5 rad/s",
    "scenario.time_step=1 ms",
    "scenario.box=[50,50]",
    "scenario.boundary=open",
    "scenario.start_inner=5 um",
    "scenario.start_outer=20 um",
)
SCENARIO = "ChemotaxisContinuous-v0"
QUIET = {"say": lambda text: None}


class Place:
    """A toy with its rig file, and the parts that stand in for devices."""

    def __init__(self, toy, folder, delay=0.01):
        import dataclasses

        self.folder = folder
        self.rig = toy.write_rig(folder, "turning_speed = 1.0")
        self.lab = toy.ToyLab(4, delay=delay)
        self.lab.shows_light = True
        self.gate = toy.ToyGate(self.lab)
        known = toy.calibration(read_rig(self.rig).hardware_digest)
        motion = dataclasses.replace(known.delay, **delays(delay))
        self.parts = Parts(
            camera=toy.ToyCamera(self.lab),
            gatekeeper=self.gate,
            calibration=dataclasses.replace(known, delay=motion),
            clock=self.lab.clock,
        )

    def events(self, folder):
        lines = (folder / "events.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


def delays(light):
    from swarmctl.bridge.calibration import Figure

    known = {"frame": 0.014, "command": 0.001, "light": light, "motion": 0.0}
    return {name: Figure(value, value, 100) for name, value in known.items()}


@pytest.fixture
def place(toy, tmp_path):
    return Place(toy, tmp_path)


def drives(place, **keys):
    options = {
        "rig": place.rig,
        "agent": "steer-to-source",
        "twin": SCENARIO,
        "set": KEYS,
        "operator": "Ada",
        "seconds": 3.0,
        "guards": ("localisation=0.02", "heading_noise=0.03"),
        "view": False,
        "out": place.folder / "run",
    }
    return RunConfig(**{**options, **keys})


def test_an_agent_drives_after_guards_and_probe_and_hands_back(place):
    result = run(drives(place, images=True), parts=place.parts, **QUIET)
    assert result.passed
    assert result.probe is not None
    assert result.probe.passed
    assert result.probe.speed == pytest.approx(1.0, abs=0.3)
    assert result.probe.turn == pytest.approx(1.0, abs=0.3)
    # They come nearer to the source; soon they would meet there, and push one another.
    assert result.last < result.first
    events = place.events(result.path)
    modes = [event["to"] for event in events if event["kind"] == "mode"]
    assert modes == ["drive", "shadow"]
    trajectory = read_trajectory(result.path)
    assert len(trajectory.time) >= result.decisions
    assert [path.name for path in result.files] == ["film.mp4"]
    assert place.gate.standing is Standing.DISCONNECTED


def test_in_shadow_no_light_leaves_the_gate(place):
    result = run(drives(place, mode="shadow", operator="", seconds=2.0), parts=place.parts, **QUIET)
    assert result.passed
    assert result.probe is None
    assert not len(place.lab.spots)
    trajectory = read_trajectory(result.path)
    assert np.abs(np.asarray(trajectory.requested["speed"][1:])).max() > 0
    assert np.abs(np.asarray(trajectory.applied["speed"][1:])).max() == 0


def test_colloids_that_do_not_swim_are_refused_by_the_probe(place):
    place.lab.swim = False
    with pytest.raises(ArmingError, match="no response"):
        run(drives(place), parts=place.parts, **QUIET)
    info = json.loads((place.folder / "run" / "run.json").read_text())
    assert info["status"] == "failed"
    assert not len(place.lab.spots)


def world():
    return World(Box((50.0, 50.0), "open"), species=(Species("janus", 4, 2.0, speed_max=4.0),))


def test_the_emergency_stop_is_heard_between_frames_and_remembered(place, monkeypatch):
    pressed = []
    monkeypatch.setattr(Keys, "emergency", lambda keys: bool(pressed))
    with Session(
        place.rig, world(), 0.2, place.folder / "run", {}, "lab record", images=False, view=False,
        parts=place.parts, dry_steps=0, **QUIET,
    ) as session:  # fmt: skip
        place.gate.standing = Standing.ARMED
        session.engine.reset(0)
        drive = Command(speed=np.full(4, 2.0, np.float32), turn_rate=np.zeros(4, np.float32))
        assert session.engine.step(drive).status.fault is None
        pressed.append(1)
        assert "the operator pressed" in session.engine.step(drive).status.fault
        assert place.gate.standing is Standing.FAULT
        pressed.clear()
        assert session.emergency()


def test_who_engages_is_who_arms_and_a_spot_is_looked_for_again(place):
    engine = MicroscopeEngine(world(), 0.2, parts=place.parts, rig=place.rig)
    plant = MicroscopePlant(engine)
    engine.open()
    for name in ("Ada", "Bob"):
        plant.arm(name)
    engine.close()
    told = [event for event in place.gate.events if event.startswith("arm")]
    assert told == ["arm Ada for probing", "arm Ada", "arm Bob for probing", "arm Bob"]


def test_a_recording_holds_what_was_asked_and_done(place):
    config = RecordConfig(
        rig=place.rig, scenario=SCENARIO, set=KEYS, operator="Ada", seconds=3.0,
        out=place.folder / "record",
    )  # fmt: skip
    done = record(config, parts=place.parts, **QUIET)
    assert done.passed
    assert done.decisions >= 14
    trajectory = read_trajectory(done.path)
    assert np.asarray(trajectory.applied["speed"][1:]).any()
    with pytest.raises(RunFolderError):
        record(config, parts=place.parts, **QUIET)


def test_what_is_missing_is_asked_for_before_anything_moves(place, tmp_path):
    with pytest.raises(ConfigError, match="which agent"):
        RunConfig(rig=place.rig)
    with pytest.raises(ConfigError, match="who answers"):
        RunConfig(rig=place.rig, agent="steer-to-source")
    with pytest.raises(ConfigError, match="give --twin"):
        run(drives(place, twin=""), parts=place.parts, **QUIET)
    with pytest.raises(ConfigError, match="which scenario"):
        RecordConfig(rig=place.rig)
    with pytest.raises(ConfigError, match="Train the policy first"):
        demo(LabDemoConfig(policy=tmp_path / "nowhere"), **QUIET)
