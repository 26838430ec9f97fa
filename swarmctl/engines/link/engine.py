"""The engine "link": a laboratory behind a TCP connection."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from swarmctl.core.command import Command, check_command
from swarmctl.core.config import build
from swarmctl.core.contracts import Engine, Status, Transition
from swarmctl.core.errors import CapabilityError, ConfigError, LinkError, SwarmctlError
from swarmctl.core.spec import EngineSpec
from swarmctl.core.state import SwarmState
from swarmctl.core.world import World
from swarmctl.engines.link.config import LinkConfig
from swarmctl.engines.link.dialects import DIALECTS, Answer, make_dialect
from swarmctl.engines.link.frames import Hello
from swarmctl.engines.link.orders import (
    Decision,
    command_of_rows,
    command_rows,
    decide,
    holder,
)
from swarmctl.engines.link.sightings import Sighting
from swarmctl.engines.link.streams import Listener, Stream, connect
from swarmctl.engines.link.talks import (
    FramedTalk,
    LockstepTalk,
    Report,
    Talk,
    describe_controller,
)
from swarmctl.engines.link.tracks import Tracks, TrackView
from swarmctl.engines.link.zmq_stream import ZmqListener

MESSAGE_MAX_JSON = 250
"""Bytes of JSON per colloid at most."""


class LinkEngine(Engine):
    """A laboratory that tells where its colloids are and is told what they should do.

    The spec is known with nothing connected: box, species, slots and limits are those of the world.
    The first `reset` waits for the laboratory to connect. An episode starts from what is seen then;
    nothing is placed anywhere, and the seed is only handed on. In a step the command goes out and
    the next state comes in. What goes wrong on the other side during a step is the `fault` of its
    status, and the connection is closed; `reset` waits for a new one. After `stop`, `close` and
    faults the laboratory has been told to make its outputs safe.

    Args:
        world: box, species and limits; its motion is not simulated.
        control_interval: s between states.
        options: keys of `LinkConfig`, such as protocol="predecessor" or port=5000.
    Raises ConfigError or CapabilityError for a world that a laboratory cannot report.
    """

    config_class = LinkConfig

    def __init__(self, world: World, control_interval: float = 0.1, **options: Any) -> None:
        config = build(LinkConfig, options, "engine")
        check_world(world, config, control_interval)
        self.config = config
        species = world.species
        codes_only = "turn_rate" in config.commands and config.protocol != "framed"
        self.spec = EngineSpec(
            name="link",
            capacity=world.capacity,
            dimension=2,
            dtype=str(jax.dtypes.canonicalize_dtype(jnp.float64)),
            species=tuple(s.name for s in species),
            species_of_slot=world.species_of_slot,
            radius=tuple(s.radius for s in species),
            # An action number cannot say backwards.
            speed_min=tuple(max(s.speed_min, 0.0) if codes_only else s.speed_min for s in species),
            speed_max=tuple(s.speed_max for s in species),
            turn_rate_max=tuple(s.turn_rate_max for s in species),
            box=world.box.size,
            periodic=world.box.periodic,
            control_interval=control_interval,
            capabilities=config.commands,
            power_max=tuple(s.actuator.power_max if s.actuator else 0.0 for s in species),
            offset_max=tuple(s.actuator.offset_max if s.actuator else 0.0 for s in species),
            flows=world.flows,
        )
        self._coarse = codes_only
        self._friction = np.asarray(self.spec.per_slot(tuple(map(world.friction, species))))
        self._hold = holder(world, self.spec)
        self._listener: Listener | ZmqListener | None = None
        self._talk: Talk | None = None
        self._running = False
        self._step, self._started, self._time = 0, 0.0, 0.0
        self._tracks: Tracks
        self._sighting: Sighting
        self._view: TrackView

    # The connection

    def open(self) -> tuple[str, int]:
        """Listen, unless that is done already, and return host and port. `reset` does it, too."""
        config = self.config
        if not config.listen:
            return config.host, config.port
        if self._listener is None:
            if config.protocol == "zmq":
                most = 1000 + MESSAGE_MAX_JSON * config.colloids_max
                self._listener = ZmqListener(config.host, config.port, most)
            else:
                self._listener = Listener(config.host, config.port)
        return self._listener.address

    def _connect(self) -> Talk:
        host, port = self.open()
        if self._listener is None:
            stream: Stream = connect(host, port, self.config.connect_timeout)
        else:
            stream = self._listener.accept(self.config.connect_timeout)
        try:
            if self.config.protocol != "framed":
                dialect = make_dialect(
                    self.config.protocol, self.config.colloids_max, self.config.columns
                )
                return LockstepTalk(stream, dialect, self.config)
            about = describe_controller(
                self.spec.capabilities, self.spec.capacity, self.spec.control_interval, self.config
            )
            return FramedTalk(stream, about, self.config, self._check_peer)
        except BaseException:
            stream.close()
            raise

    def _check_peer(self, peer: Hello) -> None:
        missing = self.spec.capabilities - peer.channels
        if missing:
            raise LinkError(
                f"laboratory {peer.name!r} does not take {', '.join(sorted(missing))}; it takes "
                f"{', '.join(sorted(peer.channels))}. Give the link channels that it takes."
            )
        if abs(peer.control_interval - self.spec.control_interval) > 1e-6:
            raise LinkError(
                f"laboratory {peer.name!r} works every {peer.control_interval:g} s, this engine "
                f"every {self.spec.control_interval:g} s; set both to the same control interval."
            )

    def _drop(self, reason: str) -> None:
        if self._talk is not None:
            self._talk.close(reason)
        self._talk, self._running = None, False

    # The contract

    def reset(self, seed: int) -> SwarmState:
        """Start an episode from what is seen now, after connecting if nobody is.

        Raises LinkTimeoutError if nobody connects, LinkError if the laboratory is at fault.
        """
        self._running = False
        try:
            if self._talk is None:
                self._talk = self._connect()
            report = self._talk.start(seed)
            self._tracks = Tracks(self.spec, self.config.types, self.config.surplus == "fault")
            self._step, self._started, self._time = 0, report.time, report.time
            self._look(report, self.spec.control_interval)
        except BaseException as error:
            self._drop(f"{error}")
            raise
        self._running = True
        return self._state(self._view, 0.0, self.spec.control_interval)

    def step(self, command: Command) -> Transition:
        """Send a command and wait for the next state.

        `status.info` holds `limited` bool [N], whose request was cut or coarsened; `round_trip` s
        from the command to the state; `interval` s; `expired`, whether the laboratory stopped the
        command for its age; `left_out`, colloids without a slot. A failure of the laboratory is
        `status.fault`, with the last state that there was. Raises SwarmctlError before the first
        reset and after a fault, CommandError or CapabilityError for a bad command.
        """
        if not self._running or self._talk is None:
            raise SwarmctlError("engine 'link': call reset(seed) before a step, and after a fault.")
        check_command(command, self.spec)
        view = self._view
        director = np.where(view.oriented[:, None], view.director, 0)
        decision = decide(
            jax.tree.map(np.asarray, command),
            self.spec,
            self._hold,
            view.present & view.controllable,
            director,
            self.config.threshold,
            self._coarse,
        )
        sent = time.monotonic()
        applied = decision.applied
        try:
            report = self._talk.exchange(
                self._answer(decision), command_rows(decision, self.config.codes, view.ids)
            )
            if report.applied is not None:
                applied = command_of_rows(report.applied, view.ids, self.spec)
            interval = self._interval(report)
            self._look(report, interval)
        except LinkError as error:
            self._drop(f"{error}")
            return self._failed(applied, str(error))
        except BaseException as error:
            self._drop(f"{type(error).__name__}")
            raise
        self._step += 1
        nominal = self.config.clock == "nominal" and self.config.protocol != "framed"
        passed = self._step * interval if nominal else report.time - self._started
        info = {
            "limited": decision.limited,
            "round_trip": time.monotonic() - sent,
            "interval": interval,
            "expired": report.expired,
            "left_out": self._view.left_out,
        }
        state = self._state(self._view, passed, interval)
        return Transition(state, jax.device_put(applied), Status(info=info))

    def _failed(self, applied: Command, fault: str) -> Transition:
        """The last state once more, at rest, with what went wrong."""
        self._step += 1
        n = self.spec.capacity
        last = self._state(self._view, self._time - self._started, self.spec.control_interval)
        still = jnp.zeros((n, 2), self.spec.dtype)
        state = SwarmState(
            **{**vars(last), "velocity": still, "angular_velocity": still[:, 0]}
        )  # fmt: skip
        return Transition(state, jax.device_put(applied), Status(fault=fault))

    def _interval(self, report: Report) -> float:
        if self.config.clock == "nominal" and self.config.protocol != "framed":
            return self.spec.control_interval
        interval, self._time = report.time - self._time, report.time
        if not interval > 0:
            raise LinkError(f"the laboratory's clock went on by {interval} s between two states.")
        return interval

    def _look(self, report: Report, interval: float) -> None:
        self._sighting = report.sighting
        self._view = self._tracks.update(self._in_micrometres(report.sighting), interval)

    def _in_micrometres(self, sighting: Sighting) -> Sighting:
        position, angle = sighting.position * self.config.length_unit, sighting.angle
        if self.config.y_down:
            position = np.stack([position[:, 0], self.spec.box[1] - position[:, 1]], axis=1)
            angle = -angle
        return Sighting(**{**vars(sighting), "position": position, "angle": angle})

    def _answer(self, decision: Decision) -> Answer:
        """What every row of the last sighting is asked for; rows without a slot rest."""
        count, slots = self._sighting.count, self._view.slots
        action = np.full(count, self.config.codes[0])
        force = np.zeros((count, 2))
        rows = np.flatnonzero(slots >= 0)
        slots = slots[rows]
        action[rows] = np.asarray(self.config.codes)[decision.index[slots]]
        force[rows] = self._friction[slots, None] * decision.velocity[slots]
        if self.config.y_down:
            force[:, 1] *= -1
        return Answer(self._sighting.label, action, force)

    def _state(self, view: TrackView, passed: float, interval: float) -> SwarmState:
        real = np.dtype(self.spec.dtype)
        kinds = {
            "position": real, "director": real, "velocity": real, "angular_velocity": real,
            "image": np.int32, "identity": np.int32, "present": bool, "oriented": bool,
            "controllable": bool,
        }  # fmt: skip
        seen: Any = {name: getattr(view, name).astype(kind) for name, kind in kinds.items()}
        rest: Any = {
            "species": np.array(self.spec.species_of_slot, np.int32),
            "step": np.array(self._step, np.int32),
            "time": np.array(passed, real),
            "interval": np.array(interval, real),
        }
        return jax.device_put(SwarmState(**seen, **rest, bodies=None))

    def stop(self, reason: str) -> None:
        """Tell the laboratory to make its outputs safe; it stays connected.

        Raises LinkError, after closing the connection, if it does not say that it has.
        """
        self._running = False
        if self._talk is None:
            return
        try:
            self._talk.stop(reason)
        except BaseException as error:
            self._drop(f"{error}")
            raise

    def close(self) -> None:
        """Tell the laboratory to make its outputs safe, and disconnect; may be called twice."""
        self._drop("the engine is closed")
        if self._listener is not None:
            self._listener.close()
            self._listener = None


def check_world(world: World, config: LinkConfig, control_interval: float) -> None:
    """Raise ConfigError or CapabilityError unless a laboratory can report such a world."""
    if world.dimension != 2:
        raise CapabilityError(
            f"engine 'link': laboratories report positions in a plane, the world is "
            f"{world.dimension}D; give the box two lengths."
        )
    if world.bodies or world.chemicals:
        raise CapabilityError(
            "engine 'link': laboratories report colloids only; this world has "
            f"{'rigid bodies' if world.bodies else 'substances'}, which nobody would measure."
        )
    if not control_interval > 0:
        raise ConfigError(f"engine 'link': the control interval is {control_interval} s.")
    names = [s.name for s in world.species]
    if config.types and len(config.types) != len(names):
        raise ConfigError(
            f"engine 'link': {len(config.types)} types for the species {', '.join(names)}."
        )
    tells = config.protocol in ("framed", "json", "zmq") or "type" in (
        config.columns or DIALECTS[config.protocol][1]
    )
    if len(names) > 1 and not tells:
        raise ConfigError(
            f"engine 'link': the protocol {config.protocol!r} does not say of which kind a colloid "
            f"is, and the world has {', '.join(names)}; use 'typed', or columns with a type."
        )
    dark = [s.name for s in world.species if s.actuator is None]
    if config.commands & {"power", "spot_offset"} and dark:
        raise ConfigError(
            f"engine 'link': the link takes light, and species {dark[0]!r} has no actuator that "
            "limits it; give it one, or leave power and spot_offset out of channels."
        )
    if config.protocol == "framed" and config.expiry <= control_interval:
        raise ConfigError(
            f"engine 'link': commands expire after {config.expiry:g} s, before the control "
            f"interval of {control_interval:g} s is over; give engine.expiry more time."
        )
