"""A virtual laboratory in the test's own process, on its own clock, behind the gates of probing."""

from __future__ import annotations

from typing import Any

import numpy as np

from swarmctl.bridge.devices.contract import Camera, Shot
from swarmctl.bridge.gatekeeper import Evidence, Gatekeeper
from swarmctl.bridge.microscope.parts import Parts
from swarmctl.bridge.orders import Order, Receipt, Report, Standing, Values
from swarmctl.bridge.rig import Rig, read_rig
from swarmctl.bridge.supervisor.gates import make_gate, probing_limits
from swarmctl.bridge.virtual.rig_files import write_rig_files
from swarmctl.bridge.virtual.virtual_sample import VirtualSample
from swarmctl.core.errors import ArmingError

HOLD = 0.3


class RoomCamera(Camera):
    """Frames of a sample; asking for one lets the time go on."""

    def __init__(self, room: Room) -> None:
        self.room, self.spec = room, room.rig.camera.build().spec
        self.number = 0

    def connect(self, mock: bool = False) -> None:
        pass

    def start(self) -> None:
        pass

    def newest(self, timeout: float) -> Shot:
        sample = self.room.sample
        while (exposure := sample.advance()) is None:
            pass
        self.number += 1
        return Shot(sample.frame(exposure), self.number, exposure.time, sample.now)

    def stop(self) -> None:
        pass

    def disconnect(self) -> None:
        pass


class RoomGate(Gatekeeper):
    """Passes values on, as far as probing allows, to coils and stage."""

    def __init__(self, room: Room) -> None:
        self.room, self.standing = room, Standing.DISCONNECTED
        scale, now = room.rig.supervisor.probing.scale, room.clock()
        self.outputs = {e.name: e.driver.build().spec for e in room.rig.outputs}
        self.gates = {
            e.name: make_gate(
                probing_limits(e.limits, self.outputs[e.name], scale),
                self.outputs[e.name], HOLD, e.name,
            )
            for e in room.rig.outputs
        }  # fmt: skip
        self.ledgers = {name: gate.open(now) for name, gate in self.gates.items()}
        self.waiting: list[Receipt] = []
        self.cut: list[str] = []
        self.serial = 0
        self.events: list[str] = []

    def open(self) -> None:
        self.standing = Standing.CONFIGURED

    def arm(self, operator: str, evidence: Evidence | None) -> None:
        if evidence is not None:
            raise ArmingError("this room is for probing.")
        self.standing = Standing.ARMED

    def activate(self) -> None:
        assert self.standing is Standing.ARMED
        self.standing = Standing.ACTIVE

    def send(self, order: Order) -> None:
        assert self.standing is Standing.ACTIVE
        now, sent, cut = self.room.clock(), {}, {}
        for name, asked in order.outputs.items():
            assert isinstance(asked, Values)
            passed, words, self.ledgers[name] = self.gates[name].send(
                asked, self.ledgers[name], now
            )
            sent[name], cut[name] = passed, words
            self.cut += [words] if words else []
            self._write(name, passed.value)
        self.waiting.append(Receipt(order.number, sent, cut, now, now))

    def _write(self, name: str, value: Any) -> None:
        sample = self.room.sample
        if name == "stage":
            sample.move(value)
        else:
            self.serial += 1
            sample.drive(self.serial, value, self.room.clock())

    def beat(self, frame: int, exposed: float) -> None:
        pass

    def receipts(self) -> list[Receipt]:
        come, self.waiting = self.waiting, []
        return come

    def report(self) -> Report:
        return Report(self.standing, "", self.room.clock(), np.nan, np.nan, None, "test")

    def rest(self, reason: str) -> None:
        self.standing = Standing.ARMED
        for name, spec in self.outputs.items():
            if spec.kind != "pattern":
                safe = np.array([channel.safe for channel in spec.channels])
                self.ledgers[name] = self.gates[name].settle(self.ledgers[name], self.room.clock())
                if name == "stage" or self.serial:
                    self._write(name, safe)

    def stop(self, reason: str) -> None:
        raise AssertionError(reason)

    def clear(self, operator: str) -> None:
        raise AssertionError

    def close(self) -> None:
        self.standing = Standing.DISCONNECTED


class Room:
    """A sample with a camera, a gate and a rig file in a folder."""

    def __init__(self, config: Any, folder: Any, sample: VirtualSample | None = None) -> None:
        write_rig_files(folder, config)
        self.path = folder / "rig.toml"
        self.rig: Rig = read_rig(self.path)
        self.sample = sample or VirtualSample(config, 100.0)
        self.camera, self.gate = RoomCamera(self), RoomGate(self)
        self.parts = Parts(camera=self.camera, gatekeeper=self.gate, clock=self.clock)

    def clock(self) -> float:
        """Time of the sample, s."""
        return self.sample.now
