"""The process of a virtual laboratory: it owns the sample, keeps its time, and serves its devices.

    python -m swarmctl.bridge.virtual.sample_process FOLDER PACING PARENT

FOLDER holds `sample.toml`; `address.json` appears in it once devices can connect, `truth.h5md` at
the end. The process ends when it is asked to, on SIGTERM, and when the process PARENT has gone.
"""

from __future__ import annotations

import gc
import json
import math
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from swarmctl.bridge.virtual.sample_config import SampleConfig, read_sample
from swarmctl.bridge.virtual.server import Server
from swarmctl.bridge.virtual.shared_memory import Board, Ring, pixel_type
from swarmctl.bridge.virtual.truth import TruthRecord
from swarmctl.bridge.virtual.virtual_sample import VirtualSample
from swarmctl.core.config import build
from swarmctl.core.errors import DeviceError

Pacing = Literal["real-time", "lockstep"]

FRAMES, PATTERNS, CURRENTS = 8, 16, 64
"""Images that the rings hold."""
LAG_MAX = 1.0
"""s; a laboratory that is further behind the clock, as after sleep, stands still for that time."""


class SampleProcess:
    """Keeps the time of a sample, and brings patterns to it and frames from it.

    In real time the sample follows the clock. If the machine is too slow, frames are left out and
    come late, with the time at which they were taken. In lockstep the time goes on to the next
    frame when that is asked for, and stands still otherwise.
    """

    def __init__(self, folder: Path, pacing: Pacing, parent: int) -> None:
        """Build all of it and tell the world. Raises SwarmctlError."""
        self.config = read_sample(folder / "sample.toml")
        self.pacing, self._parent = pacing, parent
        self.sample = VirtualSample(self.config, time.monotonic())
        camera, projector = self.config.optics.camera, self.config.projector
        self._board = Board.create()
        self._frames = Ring.create((camera.height, camera.width), pixel_type(camera.bits), FRAMES)
        self._patterns = Ring.create((projector.height, projector.width), np.uint8, PATTERNS)
        self._random = np.random.default_rng([self.config.seed, 3])
        count = 1 if self.config.coils is None else 3 * self.config.coils.count + 1
        self._currents = Ring.create((1, count), np.float64, CURRENTS)
        self._taken = self._driven = 0  # patterns and currents
        self._number = 0  # of the camera's newest frame
        self._running = False  # the camera
        self._stopped = False
        self._stalls = self._left_out = self._dropped = 0
        self._ready: deque[tuple[int, float, float, Any]] = deque()
        self.sample.skip(time.monotonic() - self.sample.now)  # compiling took its time
        self._truth = TruthRecord(folder, self.sample.world, self.sample.start)
        rings = (self._frames, self._patterns, self._currents)
        shared = [self._board.descriptor, *(ring.descriptor for ring in rings)]
        self._server = Server(self._answer, about(self.config, pacing), shared)
        self._tell()
        address = {"socket": str(self._server.path), "pid": os.getpid()}
        partial = folder / "address.part"
        partial.write_text(json.dumps(address))
        partial.replace(folder / "address.json")

    def run(self) -> None:
        """Serve until the end."""
        # A collection of all that compiling has left would take longer than a frame.
        gc.collect()
        gc.freeze()
        try:
            while not self._stopped and os.getppid() == self._parent:
                if self.pacing == "real-time":
                    self._server.poll(self._keep_time())
                else:
                    self._server.poll(0.5)
                self._running = self._running and self._server.connected("camera")
                self._tell()
        finally:
            self._server.close()
            self._truth.close()

    def stop(self) -> None:
        """End soon."""
        self._stopped = True

    @property
    def _now(self) -> float:
        """Time of the laboratory's clock, s."""
        return time.monotonic() if self.pacing == "real-time" else self.sample.now

    def _tell(self) -> None:
        sample, now = self.sample, self._now
        self._board.write(
            sample.now,
            time.monotonic(),
            sample.light.serial_at(now),
            not sample.faults.interlock_open,
            sample.coils.serial_at(now),
            sample.coils.stopped(now),
        )

    def _keep_time(self) -> float:
        """Go on until now; return the time until there is something to do, s."""
        tick, period = self.config.timing.tick, self.config.timing.period
        lag = time.monotonic() - self.sample.now
        if lag > LAG_MAX:
            self._stalls += 1
            self.sample.skip(lag)
        for _ in range(self.config.timing.period_ticks):
            if self.sample.now + tick > time.monotonic():
                break
            self._go_on(render=time.monotonic() - self.sample.now < period)
        self._take_orders()
        now = time.monotonic()
        self._publish(now)
        arrives = self._ready[0][2] if self._ready else math.inf
        begins = min(self.sample.light.next_after(now), self.sample.coils.next_after(now))
        return min(self.sample.now + tick, arrives, begins) - now

    def _go_on(self, render: bool) -> None:
        """Move the sample by a tick, and take the frame that ends with it."""
        self._take_orders()
        exposure = self.sample.advance()
        if exposure is None:
            return
        camera = -1
        if self._running and not self.sample.faults.freeze:
            self._number += 1
            camera = self._number
            if self._random.random() < self.config.timing.dropped:
                self._dropped += 1
            elif render:
                frame = self.sample.frame(exposure)
                self._ready.append((camera, exposure.time, exposure.due, frame))
            else:
                self._left_out += 1
        self._truth.write(exposure, camera)

    def _take_orders(self) -> None:
        for entry in self._patterns.since(self._taken):
            self.sample.show(entry.serial, entry.image, entry.time)
            self._taken = entry.serial
        for entry in self._currents.since(self._driven):
            self.sample.drive(entry.serial, entry.image[0], entry.time)
            self._driven = entry.serial

    def _publish(self, now: float) -> bool:
        """Hand out the frames that have arrived by `now`; return whether there were any."""
        any_came = False
        while self._ready and self._ready[0][2] <= now + 1e-9:
            number, exposed, due, frame = self._ready.popleft()
            if not self.sample.faults.freeze:
                self._frames.write(frame, number, exposed, due)
                any_came = True
        return any_came

    def _answer(self, asked: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
        if asked == "start":
            self._running = True
        elif asked == "stop":
            self._running = False
            self._ready.clear()
        elif asked == "frame":
            return {"came": self._next_frame()}
        elif asked == "timeout":
            value = message.get("value")
            output = self.sample.coils if message.get("output") == "coils" else self.sample.light
            output.timeout = math.inf if value is None else float(value)
        elif asked == "move":
            self.sample.move(np.asarray(message.get("to"), np.float64))
        elif asked == "where":
            position, goal = self.sample.position.tolist(), self.sample.goal.tolist()
            return {"position": position, "goal": goal}
        elif asked == "faults":
            now = asdict(self.sample.faults) | dict(message.get("faults", {}))
            self.sample.set_faults(build(type(self.sample.faults), now))
            self._tell()
        elif asked == "end":
            self.stop()
        elif asked == "status":
            return self._status()
        else:
            raise DeviceError(f"the virtual laboratory does not know the request {asked!r}.")
        return {}

    def _status(self) -> dict[str, Any]:
        return {
            "now": self.sample.now,
            "number": self._number,
            "dropped": self._dropped,
            "left_out": self._left_out,
            "stalls": self._stalls,
            "shown": self.sample.light.serial_at(self._now),
            "lag": time.monotonic() - self.sample.now,
        }

    def _next_frame(self) -> bool:
        """Let the time go on until a frame arrives; for a period only if the camera is frozen."""
        if self.pacing != "lockstep":
            raise DeviceError(
                "frames are asked for in lockstep only; here they come by themselves."
            )
        if not self._running:
            raise DeviceError("the camera has not been started.")
        periods = 1 if self.sample.faults.freeze else 100
        for _ in range(periods * self.config.timing.period_ticks):
            self._go_on(render=True)
            if self._publish(self.sample.now):
                self._tell()
                return True
        self._tell()
        return False


def about(config: SampleConfig, pacing: Pacing) -> dict[str, Any]:
    """What devices are told of a laboratory: no more than a catalogue would say."""
    camera, projector, timing = config.optics.camera, config.projector, config.timing
    coils = config.coils
    return {
        "pacing": pacing,
        "pid": os.getpid(),
        "frames": FRAMES,
        "patterns": PATTERNS,
        "currents": CURRENTS,
        "camera": {
            "width": camera.width,
            "height": camera.height,
            "bits": camera.bits,
            "exposure": timing.exposure,
            "period": timing.period,
        },
        "light": {
            "width": projector.width,
            "height": projector.height,
            "full": projector.full,
        },
        "coils": {
            "coils": 0 if coils is None else coils.count,
            "current_max": 0.0 if coils is None else coils.current_max,
            "frequency_max": 0.0 if coils is None else coils.frequency_max,
        },
        "stage": {"travel": 0.0 if config.motors is None else config.motors.travel},
    }


def main(arguments: list[str]) -> int:
    """Run a virtual laboratory; see the module."""
    folder, pacing, parent = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the loop
    process = SampleProcess(Path(folder), pacing, int(parent))  # type: ignore[arg-type]
    signal.signal(signal.SIGTERM, lambda *_: process.stop())
    process.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
