"""The engine "microscope": a camera that is looked through, and outputs that drive colloids."""

from __future__ import annotations

import dataclasses
import gc
from typing import Any

import jax
import numpy as np

from swarmctl.bridge.calibration import Calibration, read_calibration
from swarmctl.bridge.devices.contract import Camera
from swarmctl.bridge.gatekeeper import Gatekeeper
from swarmctl.bridge.microscope.config import MicroscopeConfig, microscope_spec
from swarmctl.bridge.microscope.eyes import Eyes, FrameRecord, Look
from swarmctl.bridge.microscope.hands import Done, Hands
from swarmctl.bridge.microscope.holding import at_rest, holder, mean_command
from swarmctl.bridge.microscope.parts import (
    Parts,
    box_view,
    make_eyes,
    make_gatekeeper,
    make_steering,
)
from swarmctl.bridge.microscope.probing import STOPPED, Bench
from swarmctl.bridge.microscope.spot_check import arm
from swarmctl.bridge.microscope.timing import Latencies
from swarmctl.bridge.orders import Standing
from swarmctl.bridge.rig import read_rig
from swarmctl.bridge.vision.swarm import swarm_state
from swarmctl.core.command import Command, check_command
from swarmctl.core.config import build
from swarmctl.core.contracts import Engine, Status, Transition
from swarmctl.core.errors import (
    ArmingError,
    CapabilityError,
    CommandError,
    DeviceError,
    DeviceTimeoutError,
    SwarmctlError,
)
from swarmctl.core.state import SwarmState
from swarmctl.core.world import World
from swarmctl.engines.link.orders import changed


class MicroscopeEngine(Engine):
    """A microscope: frames become the state of a swarm, commands become orders to a gatekeeper.

    The spec is known with nothing connected: box, species and limits are those of the world, the
    channels those of the rig. An episode starts from what is seen; nothing is placed anywhere. In a
    step the command is held for the control interval: every frame is tracked, and outputs are aimed
    anew by every frame. The step ends with the first frame that was exposed a control interval
    after the last state. What goes wrong on the way is the `fault` of the step's status; then the
    outputs are safe and stay so until a person clears it.

    Orders have an expiry, and the gatekeeper wants a heartbeat: whoever takes longer than that
    between two steps finds the outputs safe. The first steps are dry, so that programs are compiled
    before anything moves.

    Args:
        world: box, species and limits; its motion is not simulated.
        control_interval: s between states.
        parts: rig, camera, gatekeeper, calibration, if they are not those of the rig file, and an
            observer.
        options: keys of `MicroscopeConfig`, such as rig="rig.toml".
    Raises ConfigError, CapabilityError, UnknownNameError.
    """

    config_class = MicroscopeConfig

    def __init__(
        self,
        world: World,
        control_interval: float = 0.1,
        *,
        parts: Parts | None = None,
        **options: Any,
    ) -> None:
        self.config = build(MicroscopeConfig, options, "engine")
        self.rig = (parts.rig if parts else None) or read_rig(self.config.rig)
        self.spec = microscope_spec(world, self.rig, control_interval)
        self.dry = self.config.dry
        self.excluded: frozenset[int] = frozenset()
        self._parts = parts or Parts()
        self.clock = self._parts.clock
        self._warm = self.config.dry_steps
        self._open = self._running = False
        self._step = self._poor = 0
        self._started = self._state_time = self._heard = 0.0
        self._unordered = False
        self._look: Look
        self._camera: Camera
        self._gatekeeper: Gatekeeper
        self._calibration: Calibration
        self._eyes: Eyes
        self._hands: Hands

    # What others look at

    @property
    def look(self) -> Look | None:
        """The last frame, what was found in it, and the tracks; None before the first."""
        return self._look if self._open and hasattr(self, "_look") else None

    @property
    def latencies(self) -> Latencies:
        """How late everything has been; the rig is connected if it is not yet."""
        self.open()
        return self._hands.latencies

    @property
    def gatekeeper(self) -> Gatekeeper:
        """Who owns the outputs; the rig is connected if it is not yet."""
        self.open()
        return self._gatekeeper

    @property
    def calibration(self) -> Calibration:
        """The calibration in use; the rig is connected if it is not yet."""
        self.open()
        return self._calibration

    # The rig

    def open(self) -> None:
        """Connect camera and gatekeeper, unless that is done. Outputs are safe then.

        Raises DeviceError, CalibrationError, MissingExtraError.
        """
        if self._open:
            return
        rig, parts = self.rig, self._parts
        self._calibration = parts.calibration or read_calibration(rig.calibration)
        view = box_view(self._calibration, rig, self.spec, self.config.origin)
        steering = make_steering(rig, self._calibration, self.spec, view)
        self._camera = parts.camera or rig.camera.build()
        self._gatekeeper = parts.gatekeeper or make_gatekeeper(self.config.rig)
        hold = holder(self.spec, rig.output(rig.steering.output).limits)
        self._hands = Hands(
            self._gatekeeper, steering, hold, rig, self._calibration.delay.to_light, self.clock
        )
        try:
            self._camera.connect(rig.mock_camera)
            self._eyes = make_eyes(self._camera, rig, self._calibration, self.spec, view,
                                   self.config, self.clock)  # fmt: skip
            self._gatekeeper.open()
            self._camera.start()
        except BaseException:
            self._let_go()
            raise
        self._open = True

    def arm(self, operator: str) -> None:
        """Arm the outputs for a person: spots are looked for where the calibration says.

        Raises ArmingError with every reason against it.
        """
        self.open()
        # A collection of garbage takes longer than a heartbeat, once programs are compiled.
        gc.collect()
        gc.freeze()
        bench = Bench(
            self._camera, self._gatekeeper, self.rig, self.clock,
            self.config.heartbeat, self.config.frame_timeout, self._hands.number,
            self._parts.stopped,
        )  # fmt: skip
        try:
            arm(bench, self._gatekeeper, self.rig, self._calibration, operator, self.spec.radius[0])
        finally:
            self._hands.number = bench.number

    # The contract

    def reset(self, seed: int) -> SwarmState:
        """Start an episode from what is seen, after waiting for colloids; the seed does nothing.

        Raises ArmingError if the outputs may not be used, DeviceTimeoutError if too few colloids
        are seen, DeviceError, CalibrationError.
        """
        self._running = False
        self.open()
        self._flush()
        self._ready()
        self._eyes.forget()
        self._hands.forget()
        self._watch()
        self._step = self._poor = 0
        self._started = self._state_time = self._look.shot.exposed
        self._running = True
        return self._state(self.spec.control_interval)

    def _ready(self) -> None:
        """See that the outputs may be used, unless everything is dry."""
        if self.dry:
            return
        report = self._gatekeeper.report()
        if report.standing is Standing.CONFIGURED and self.config.operator:
            self.arm(self.config.operator)
            report = self._gatekeeper.report()
        if report.standing not in (Standing.ARMED, Standing.ACTIVE):
            why = f": {report.fault}" if report.fault else ""
            raise ArmingError(
                f"the outputs are {report.standing.name}{why}; a person has to "
                f"{'clear and arm' if report.fault else 'arm'} them, or run it dry."
            )

    def _watch(self) -> None:
        """Wait until enough colloids have been tracked for long enough."""
        config, begin, first = self.config, self.clock(), None
        while True:
            self._see()
            now = self._look.shot.exposed
            first = now if first is None else first
            count = int(self._look.tracks.present.sum())
            if count >= config.colloids_least and now - first >= config.settle:
                return
            if self.clock() - begin > config.start_timeout:
                raise DeviceTimeoutError(
                    f"rig {self.rig.name!r}: {count} colloids are tracked after "
                    f"{config.start_timeout:g} s, {config.colloids_least} are needed; look at the "
                    "image, its focus and the detector's keys."
                )

    def step(self, command: Command) -> Transition:
        """Hold a command for one control interval.

        `status.info` holds `limited` bool [N], whose request was cut; `interval` s, and `late` s by
        which it was too long, `missed_deadline` if by more than a frame; `dropped` frames;
        `left_out`, colloids without a slot; `found`; `detected` [M,2] µm, all that were found, with
        a slot or without; `orders`, how many of them were `confirmed`
        and how many `unsent`, as the output was busy or at rest; `cut`, what the supervisor cut, in
        its words; `dry`; `latency`, s by name.
        Raises CommandError, CapabilityError, and SwarmctlError before the first reset and after a
        fault.
        """
        if not self._running:
            raise SwarmctlError(
                "engine 'microscope': call reset(seed) before a step, and after a fault."
            )
        check_command(command, self.spec)
        dry = self.dry or self._warm > 0
        self._warm = max(self._warm - 1, 0)
        silent = self.clock() - self._heard
        first, planned = self._hands.number + 1, at_rest(command)
        dropped, start = 0, self._state_time
        end = start + self.spec.control_interval - self._camera.spec.period / 2
        done = Done([], 0, set())
        try:
            while True:
                planned = self._act(command, dry)
                self._see()
                dropped += self._look.dropped
                done = done.joined(self._hands.done(first, command))
                if self._look.shot.exposed >= end:
                    break
        except (CommandError, CapabilityError):
            raise
        except SwarmctlError as error:
            return self._failed(command, done.applied, f"{error}{self._absence(silent)}")
        except BaseException as error:
            self._halt(f"{type(error).__name__}: {error}")
            raise
        self._step += 1
        self._state_time = self._look.shot.exposed
        interval = self._state_time - start
        if done.applied and not dry:
            applied = mean_command(done.applied)
        else:
            # Without a word from the supervisor yet, what was asked for is the best guess.
            applied = at_rest(planned) if dry or done.unsent else planned
        late = interval - self.spec.control_interval
        timing = self._look.timing
        info = {
            "limited": changed(command, applied, self.spec.capacity) & (not dry),
            "interval": interval,
            "late": late,
            "missed_deadline": late > self._camera.spec.period,
            "dropped": dropped,
            "left_out": self._look.tracks.ignored,
            "found": self._look.found,
            "detected": self._eyes.places(self._look),
            "orders": self._hands.number - first + 1,
            "confirmed": len(done.applied),
            "unsent": done.unsent,
            "cut": tuple(sorted(done.cut)),
            "dry": dry,
            "latency": {"frame": timing.received - timing.exposed,
                        "tracking": timing.tracked - timing.received},
        }  # fmt: skip
        return Transition(self._state(interval), self._put(applied), Status(info=info))

    def stop(self, reason: str) -> None:
        """Bring the outputs to their safe values; the engine can be reset afterwards."""
        self._running = False
        if not self._open:
            return
        if self._gatekeeper.report().standing is Standing.ACTIVE:
            self._gatekeeper.rest(reason)
        self._flush()

    def close(self) -> None:
        """Make the outputs safe and let go of the rig; may be called twice."""
        self._running = False
        if self._open:
            self._open = False
            self._let_go()

    def _let_go(self) -> None:
        try:
            self._gatekeeper.close()
        finally:
            self._camera.stop()
            self._camera.disconnect()

    # One frame

    def _see(self) -> None:
        """Wait for a frame and track. Raises DeviceError for too few colloids, and a fault."""
        self._flush()
        self._look = self._eyes.look(self._beat)
        self._unordered = True
        self._poor = self._poor + 1 if self._look.found < self.rig.supervisor.least_found else 0
        if self._running and self._poor >= self.rig.supervisor.poor_frames:
            raise DeviceError(
                f"{self._look.found} colloids were found in {self._poor} frames in a row, "
                f"{self.rig.supervisor.least_found} have to be there."
            )

    def _absence(self, silent: float) -> str:
        """Say what to do if nothing was heard of the loop for so many s before a step."""
        allowed = self.rig.supervisor.silence
        if self.dry or silent <= allowed:
            return ""
        return (
            f" The loop had called no step for {silent:.2f} s, and {allowed:g} s are allowed: let "
            "programs compile in dry steps, and call stop() before what takes long."
        )

    def _beat(self, shot: Any) -> None:
        self._heard = self.clock()
        if self._parts.stopped is not None and self._parts.stopped():
            raise DeviceError(f"{STOPPED}.")
        if shot is not None:
            self._gatekeeper.beat(shot.number, shot.exposed)
        report = self._gatekeeper.report()
        if self._running and not self.dry and report.standing is Standing.FAULT:
            raise DeviceError(f"the supervisor has made the outputs safe: {report.fault}.")

    def _act(self, command: Command, dry: bool) -> Command:
        """Send the command as an order that rests on the last look; return what it comes to."""
        record, planned = self._hands.act(command, self._look, dry, self.excluded)
        self._unordered = False
        self._heard = self.clock()
        if self._parts.observer is not None:
            self._parts.observer(record)
        return planned

    def _flush(self) -> None:
        """Tell the observer of the last frame, if it has got no order."""
        if self._unordered and self._parts.observer is not None:
            self._parts.observer(FrameRecord(self._look, None))
        self._unordered = False

    # States

    def _state(self, interval: float) -> SwarmState:
        state = swarm_state(self._look.tracks, self.spec, self._started, self._step)
        barred = np.isin(self._look.tracks.identity, list(self.excluded))
        changes: Any = {
            "interval": np.asarray(interval, self.spec.dtype),
            "controllable": np.asarray(state.controllable) & ~barred,
        }
        return jax.device_put(dataclasses.replace(state, **changes))

    def _put(self, command: Command) -> Command:
        kind = np.dtype(self.spec.dtype)
        return jax.device_put(
            jax.tree.map(lambda x: x if x.dtype == bool else np.asarray(x, kind), command)
        )

    def _failed(self, command: Command, done: list[Command], fault: str) -> Transition:
        """The last state once more, at rest, with what went wrong; outputs are made safe."""
        self._halt(fault)
        self._step += 1
        last = self._state(self.spec.control_interval)
        still = np.zeros((self.spec.capacity, 2), self.spec.dtype)
        state = dataclasses.replace(
            last, velocity=jax.device_put(still), angular_velocity=jax.device_put(still[:, 0])
        )
        applied = mean_command(done) if done else at_rest(jax.tree.map(np.asarray, command))
        return Transition(state, self._put(applied), Status(fault=fault))

    def _halt(self, reason: str) -> None:
        """Stop for good: a person has to clear it."""
        self._running = False
        try:
            if not self.dry:
                self._gatekeeper.stop(reason)
        except SwarmctlError:
            pass  # the supervisor has gone; the devices' own timeouts act
