"""A simulated laboratory at the other end of a lab link: try `engine="link"` without a microscope.

    python examples/lab_peer.py Chemotaxis-v0             # in one terminal
    swarmctl evaluate steer-to-source --scenario Chemotaxis-v0 --episodes 1 --set engine.name=link

It moves colloids by the JAX engine and speaks either the framed protocol, through the reference
client, or the predecessor's protocol, as a MATLAB program would. A real laboratory has a camera
and a laser in the place of `SimulatedColloids`.
"""

from __future__ import annotations

import argparse
import socket
import struct
import sys
import time

import jax.numpy as jnp
import numpy as np

from swarmctl.core.command import Command
from swarmctl.core.errors import LinkClosedError, SwarmctlError
from swarmctl.core.world import World
from swarmctl.engines.jax_engine import JaxEngine
from swarmctl.engines.link.frames import HAS_HEADING, CommandReport
from swarmctl.engines.link.laboratory import Laboratory, describe_laboratory, state_rows
from swarmctl.envs.make import make_scenario

CHANNELS = frozenset({"speed", "turn_rate", "heading", "velocity"})


class SimulatedColloids:
    """What is under the microscope. Time passes by control intervals."""

    def __init__(self, world: World, interval: float, seed: int = 0) -> None:
        self.engine = JaxEngine(world, interval)
        self.state = self.engine.reset(seed)
        self.time = 0.0
        self.made_safe = 0
        self.move()  # compiles, before anybody waits

    def move(self, **channels: np.ndarray) -> None:
        """Do for one interval what is asked; channels that are left out ask for nothing."""
        n, real = self.state.capacity, self.engine.spec.dtype
        values: dict[str, np.ndarray] = {
            "speed": np.zeros(n),
            "turn_rate": np.zeros(n),
            "velocity": np.zeros((n, 2)),
            "heading": np.zeros((n, 2)),
        }
        values |= {name: channels[name] for name in values.keys() & channels.keys()}
        asked = {name: jnp.asarray(value, real) for name, value in values.items()}
        given = jnp.asarray(channels.get("has_heading", np.zeros(n)), bool)
        self.state = self.engine.step(Command(**asked, has_heading=given)).state
        self.time += self.engine.spec.control_interval

    def rest(self) -> None:
        """The safe value of every output: no light, no field. Here, colloids just drift."""
        self.made_safe += 1

    @property
    def angle(self) -> np.ndarray:
        director = np.asarray(self.state.director, float)
        return np.arctan2(director[:, 1], director[:, 0])

    def rows(self) -> np.ndarray:
        """What the camera sees, for the framed protocol."""
        return state_rows(
            np.arange(self.state.capacity),
            np.asarray(self.state.position),
            self.angle,
            np.asarray(self.state.species),
        )

    def table(self) -> np.ndarray:
        """The same for the predecessor's protocol: x, y, theta, id."""
        ids = np.arange(self.state.capacity)
        return np.column_stack([np.asarray(self.state.position, float), self.angle, ids])


def channels_of(report: CommandReport, capacity: int) -> dict[str, np.ndarray]:
    """The channels of a framed command, per colloid; those without a row rest."""
    full = np.zeros(capacity, report.rows.dtype)
    full[report.rows["id"]] = report.rows
    values = {name: full[name] for name in report.channels & {"speed", "turn_rate"}}
    if "velocity" in report.channels:
        values["velocity"] = np.column_stack([full["v_x"], full["v_y"]])
    if "heading" in report.channels:
        angle = full["heading"]
        values["heading"] = np.column_stack([np.cos(angle), np.sin(angle)])
        values["has_heading"] = full["flags"] & HAS_HEADING > 0
    return values


def speak_framed(
    colloids: SimulatedColloids, host: str, port: int, pace: float, timeout: float = 30.0
) -> None:
    """Serve one controller until it says good-bye. `pace` 1 is real time, 0 as fast as possible."""
    spec = colloids.engine.spec
    about = describe_laboratory(CHANNELS, spec.capacity, spec.control_interval, "simulated")
    with Laboratory.connect(host, port, about, colloids.rest, timeout) as laboratory:
        while (order := laboratory.wait()) is not None:
            if order.command is not None:
                colloids.move(**channels_of(order.command, spec.capacity))
                laboratory.pause(spec.control_interval * pace)
            laboratory.send_state(colloids.time, colloids.rows())


def speak_predecessor(
    colloids: SimulatedColloids, host: str, port: int, pace: float, timeout: float = 30.0
) -> None:
    """The same in the predecessor's protocol: a state, its answer, the next state."""
    spec, end = colloids.engine.spec, time.monotonic() + timeout
    speed, turn = (np.asarray(spec.per_slot(t)) for t in (spec.speed_max, spec.turn_rate_max))
    while True:
        try:
            connection = socket.create_connection((host, port), timeout)
            break
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    with connection:
        connection.settimeout(None)
        while True:
            table = colloids.table()
            try:
                connection.sendall(struct.pack("<I", table.size) + table.astype("<f8").tobytes())
                answer = read_exactly(connection, 16 * len(table))
            except (ConnectionError, EOFError):
                colloids.rest()
                return
            action = np.frombuffer(answer, "<f8")[len(table) :]
            way = np.where(action == 3, 1, np.where(action == 4, -1, 0))
            colloids.move(speed=np.where(action == 2, speed, 0), turn_rate=way * turn)
            time.sleep(spec.control_interval * pace)


def read_exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


SPEAK = {"framed": speak_framed, "predecessor": speak_predecessor}


def main() -> int:
    parser = argparse.ArgumentParser(description="A simulated laboratory for engine 'link'.")
    parser.add_argument("scenario", nargs="?", default="Chemotaxis-v0")
    parser.add_argument("--protocol", choices=SPEAK, default="framed")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=22010)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pace", type=float, default=1.0, help="1: real time; 0: no waiting")
    parser.add_argument("--timeout", type=float, default=60.0, help="s to wait for the controller")
    options = parser.parse_args()
    scenario = make_scenario(options.scenario)
    colloids = SimulatedColloids(scenario.world, scenario.control_interval, options.seed)
    print(f"{scenario.world.capacity} colloids, calling {options.host} port {options.port}")
    try:
        SPEAK[options.protocol](colloids, options.host, options.port, options.pace, options.timeout)
    except (SwarmctlError, OSError) as error:
        print(f"lab_peer: {error}", file=sys.stderr)
        return 0 if isinstance(error, LinkClosedError) else 1
    print(f"the controller has gone after {colloids.time:.3g} s; outputs are safe")
    return 0


if __name__ == "__main__":
    sys.exit(main())
