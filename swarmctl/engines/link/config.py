"""The keys of a lab link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, require_positive
from swarmctl.engines.link.dialects import DIALECTS, make_dialect
from swarmctl.engines.link.frames import CHANNELS
from swarmctl.engines.link.streams import check_host

Protocol = Literal["framed", "predecessor", "typed", "lost-as-nan", "labview", "json", "zmq"]


@dataclass(frozen=True)
class LinkConfig:
    """Where the laboratory is, which protocol it speaks, and how long one waits for it."""

    protocol: Protocol = key(
        "framed", "framed: our own; predecessor, or one of its dialects: see the guide"
    )
    host: str = key("127.0.0.1", "address to listen on, or to call")
    port: int = key(22010, "TCP port; 0 for any free one, if listening")
    listen: bool = key(True, "listen for the laboratory; if not, call it (framed only)")
    remote: bool = key(False, "allow other machines; the link has no protection of its own")
    channels: tuple[str, ...] = key(
        ("speed", "turn_rate"), "what the laboratory takes (framed only): " + ", ".join(CHANNELS)
    )
    codes: tuple[int, int, int, int] = key(
        (1, 2, 3, 4), "its action numbers for nothing, active, anticlockwise, clockwise"
    )
    threshold: float = key(
        0.0, "share of the top speed or turn rate above which an action number asks for it"
    )
    columns: tuple[str, ...] = key(
        (), 'columns of its table: x, y, theta, id, type, "-"; those of the protocol if left out'
    )
    types: tuple[int, ...] = key(
        (), "its type number of every species, in order; 0, 1, ... if none"
    )
    length_unit: float = key(1.0, "unit of its positions, such as one pixel (not framed)", "um")
    y_down: bool = key(False, "its y axis points down, as in images (not framed)")
    clock: Literal["arrival", "nominal"] = key(
        "arrival", "where states carry no time: that of their arrival, or multiples of the interval"
    )
    surplus: Literal["fault", "leave out"] = key(
        "fault", "more colloids than slots: a fault, or those that came last are left out, at rest"
    )
    colloids_max: int = key(1000, "rows that the laboratory may send at most")
    connect_timeout: float = key(60.0, "wait for the laboratory to connect", "s")
    state_timeout: float = key(10.0, "wait for a state", "s")
    send_timeout: float = key(1.0, "time in which the laboratory must read what it is sent", "s")
    stop_timeout: float = key(1.0, "wait for the word that the outputs are safe (framed)", "s")
    heartbeat: float = key(0.05, "longest time between frames while waiting (framed)", "s")
    silence: float = key(1.0, "time without a frame after which it is taken for gone (framed)", "s")
    expiry: float = key(2.0, "time after which a command ends by itself (framed)", "s")

    def __post_init__(self) -> None:
        require_positive(
            "link",
            length_unit=self.length_unit,
            connect_timeout=self.connect_timeout,
            state_timeout=self.state_timeout,
            send_timeout=self.send_timeout,
            stop_timeout=self.stop_timeout,
            heartbeat=self.heartbeat,
            silence=self.silence,
            expiry=self.expiry,
        )
        check_host(self.host, self.remote)
        if not 0 <= self.port <= 65535 or (self.port == 0 and not self.listen):
            raise ConfigError(f"link: port {self.port} is not from 1 to 65535 (0 if listening).")
        if self.colloids_max < 1:
            raise ConfigError(f"link: colloids_max must be at least 1, got {self.colloids_max}.")
        if len(set(self.codes)) != 4:
            raise ConfigError(f"link: codes {self.codes} must be four different numbers.")
        if not 0 <= self.threshold < 1:
            raise ConfigError(f"link: threshold must lie in [0, 1), got {self.threshold}.")
        if len(set(self.types)) != len(self.types):
            raise ConfigError(f"link: types {self.types} must be different numbers.")
        if self.protocol == "framed":
            self._check_framed()
            return
        make_dialect(self.protocol, self.colloids_max, self.columns)
        if not self.listen:
            raise ConfigError(
                f"link: with the protocol {self.protocol!r} the laboratory calls; set listen=true."
            )

    def _check_framed(self) -> None:
        unknown = [name for name in self.channels if name not in CHANNELS]
        if unknown or not self.channels:
            raise ConfigError(
                f"link: channels {self.channels} must be some of {', '.join(CHANNELS)}."
            )
        if self.heartbeat >= self.silence:
            raise ConfigError(
                f"link: a heartbeat every {self.heartbeat:g} s does not fit a silence of "
                f"{self.silence:g} s; make silence several heartbeats."
            )
        if self.y_down or self.length_unit != 1.0 or self.columns:
            raise ConfigError(
                "link: the framed protocol is in µm with y up and has fixed columns; leave "
                "length_unit, y_down and columns out."
            )

    @property
    def commands(self) -> frozenset[str]:
        """Channels of commands that the link takes."""
        if self.protocol == "framed":
            return frozenset(self.channels)
        if DIALECTS[self.protocol][0].forces:
            return frozenset({"speed", "heading", "velocity"})
        return frozenset({"speed", "turn_rate"})
