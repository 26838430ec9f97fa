"""A session at a microscope: what is seen, asked and done is kept, shown, and told."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from swarmctl.bridge.calibration import Calibration
from swarmctl.bridge.microscope.engine import MicroscopeEngine
from swarmctl.bridge.microscope.eyes import FrameRecord
from swarmctl.bridge.microscope.parts import Parts, box_view
from swarmctl.bridge.orders import Spots
from swarmctl.core.errors import ConfigError, RecordError
from swarmctl.core.state import SwarmState
from swarmctl.core.world import World
from swarmctl.lab.keys import Keys, terminal_keys
from swarmctl.records.images import ImageConfig
from swarmctl.records.lab_recorder import LabRecorder
from swarmctl.training.engine_episodes import Decision
from swarmctl.viz.overlay import Overlay, draw_overlay
from swarmctl.viz.window import HumanWindow

SHOWN_EVERY = 0.2
"""Shortest time in s between two pictures on the screen: drawing takes time from the loop."""
TOLD_EVERY = 2.0
"""Time in s between two lines in the terminal."""


class Session:
    """Holds the engine of a microscope, a recorder and, if wanted, a window.

    Use it in a `with` statement: however the block ends, outputs are made safe and files closed.

    Args:
        rig: path of the rig file.
        world: box, species and limits.
        control_interval: s.
        folder: of the record.
        tables: nested tables that describe the run, for its config.toml.
        verb: what is done.
        images: keep the camera's frames.
        view: show a window if there is a screen.
        goal: circles [G,3] µm to draw: x, y in the box, radius.
        overwrite: delete a run that is in the folder.
        say: is called with every line.
        parts: stand in for what the rig file names.
        options: keys of the engine.
    Raises ConfigError and others for a rig that cannot be used, RunFolderError.
    """

    def __init__(
        self,
        rig: Path,
        world: World,
        control_interval: float,
        folder: Path,
        tables: Mapping[str, Any],
        verb: str,
        *,
        images: bool,
        view: bool,
        goal: np.ndarray | None = None,
        overwrite: bool = False,
        say: Callable[[str], None] = print,
        parts: Parts | None = None,
        **options: Any,
    ) -> None:
        self._stopped = False
        self._keys = Keys(False)
        self._window: HumanWindow | None = None
        parts = replace(parts or Parts(), observer=self._saw, stopped=self.emergency)
        self.engine = MicroscopeEngine(
            world, control_interval, parts=parts, rig=str(rig), **options
        )
        self.engine.open()
        self.overlays: dict[int, Overlay] = {}
        self._say, self._goal = say, goal if goal is not None else np.zeros((0, 3))
        self._images = images
        self._last: FrameRecord | None = None
        self._lines: tuple[str, ...] = ()
        self._told = self._shown = -np.inf
        try:
            self.recorder = LabRecorder(
                folder, self.engine.spec, tables, verb, self._image_config(), overwrite=overwrite
            )
        except BaseException:
            self.engine.close()
            raise
        self._begun = self.engine.clock() - self.recorder.now()
        self._window = _window(verb) if view else None
        self._keys_context = terminal_keys()
        self._map_to_image(self.engine.calibration)

    def __enter__(self) -> Session:
        self._keys = self._keys_context.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.engine.close()
        finally:
            self._keys_context.__exit__(kind, error, trace)
            if self._window is not None:
                self._window.close()
            reason = "" if error is None else f"{type(error).__name__}: {error}"
            self.recorder.close(reason, failed=error is not None)

    # What the loop tells

    def event(self, name: str, details: Mapping[str, Any]) -> None:
        """Keep an event, and say it."""
        self.recorder.event(name, **details)
        self._say(f"{name}: " + ", ".join(f"{k} {v}" for k, v in details.items() if v != ""))

    def began(self, state: SwarmState) -> None:
        """Keep the first state of an episode."""
        self.recorder.step(state, None, None, {}, self._time(), self._number())

    def decided(self, decision: Decision, label: str) -> None:
        """Keep a decision, show it, and now and then say how things are."""
        info = decision.info
        timing = {
            name: float(info[name])
            for name in ("interval", "late", "dropped", "found", "twin_error", "delay")
            if name in info
        }
        timing |= {f"latency_{k}": float(v) for k, v in info.get("latency", {}).items()}
        self.recorder.step(
            decision.swarm, decision.requested, decision.applied, timing, self._time(),
            self._number(),
        )  # fmt: skip
        fault = self.recorder.status().fault
        if fault is not None:
            raise RecordError(f"the record cannot be kept: {fault}")
        self._tell(decision, label, timing)
        if decision.fault:
            self._show(decision.fault)

    def emergency(self) -> bool:
        """Whether somebody has pressed the emergency stop, or closed the window, until now.

        The engine asks between frames, and makes the outputs safe.
        """
        window = self._window is not None and self._window.closed
        self._stopped = self._keys.emergency() or window or self._stopped
        return self._stopped

    # Inside

    def _saw(self, record: FrameRecord) -> None:
        self._last = record
        shot = record.look.shot
        if self._images:
            self.recorder.frame(shot.frame, shot.exposed - self._begun, shot.number)
            self.overlays[shot.number] = self._overlay(record)
        self._show("")  # also while it is probed: the window's key has to be heard

    def _time(self) -> float:
        assert self._last is not None
        return self._last.look.shot.exposed - self._begun

    def _number(self) -> int:
        assert self._last is not None
        return self._last.look.shot.number

    def _image_config(self) -> ImageConfig | None:
        if not self._images:
            return None
        camera = self.engine.rig.camera.build().spec
        return ImageConfig(
            height=camera.height,
            width=camera.width,
            dtype="uint8" if camera.bits <= 8 else "uint16",
            pixel_size=self.engine.calibration.view.map.pixel_size,
            exposure=camera.exposure,
            name=self.engine.rig.name,
        )

    def _map_to_image(self, calibration: Calibration) -> None:
        engine = self.engine
        self._view = box_view(calibration, engine.rig, engine.spec, engine.config.origin)
        self._pattern = calibration.pattern
        self._size = self._view.pixel_size

    def _overlay(self, record: FrameRecord) -> Overlay:
        tracks = record.look.tracks
        here = tracks.present
        heading = self._view.direction_to_image(tracks.director[here])
        light = np.zeros((0, 3))
        if record.order is not None and self._pattern is not None and not record.order.dry:
            spots = record.order.outputs.get(self._pattern.output)
            if isinstance(spots, Spots) and len(spots):
                scale = 1 / self._pattern.map.pixel_size
                place = self._pattern.map.to_image(spots.position)
                light = np.column_stack([place, scale * spots.radius])
        goal = self._goal
        if len(goal):
            goal = np.column_stack([self._view.to_image(goal[:, :2]), goal[:, 2] / self._size])
        return Overlay(
            place=self._view.to_image(tracks.position[here]),
            radius=self.engine.spec.radius[0] / self._size,
            heading=np.where(tracks.oriented[here][:, None], heading, 0.0),
            driven=tracks.seen[here],
            light=light,
            goal=goal,
            lines=self._lines,
        )

    def _tell(self, decision: Decision, label: str, timing: Mapping[str, float]) -> None:
        state = decision.swarm
        words = [
            label,
            f"{float(state.time):.1f} s",
            f"{int(state.present.sum())} colloids",
        ]
        if "twin_error" in timing and np.isfinite(timing["twin_error"]):
            words.append(f"twin {timing['twin_error']:.2f}")
        if "delay" in timing:
            words.append(f"delay {1e3 * timing['delay']:.0f} ms")
        self._lines = ("  ".join(words),)
        if time.monotonic() - self._told >= TOLD_EVERY:
            self._told = time.monotonic()
            self._say("  ".join(words))

    def _show(self, alarm: str) -> None:
        if self._window is None or self._last is None:
            return
        if time.monotonic() - self._shown < SHOWN_EVERY and not alarm:
            return
        self._shown = time.monotonic()
        overlay = replace(self._overlay(self._last), alarm=alarm)
        self._window.show(draw_overlay(self._last.look.shot.frame, overlay))


def _window(verb: str) -> HumanWindow | None:
    """A window, or None where there is no screen."""
    try:
        return HumanWindow(f"swarmctl {verb}")
    except ConfigError as error:
        print(f"no window: {error}", file=sys.stderr)
        return None
