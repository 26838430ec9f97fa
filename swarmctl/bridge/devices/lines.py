"""Instruments that are spoken to in lines of text: numbers, and an interlock."""

from __future__ import annotations

import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from swarmctl.bridge.devices.contract import Floats, OutputKind
from swarmctl.bridge.devices.keys import ValuesConfig
from swarmctl.bridge.devices.ports import InterlockPort, ValuePort
from swarmctl.core.config import key
from swarmctl.core.errors import ConfigError, DeviceError, DeviceTimeoutError

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


class Lines(ABC):
    """A line to an instrument, open from when it is made. Several devices may share it.

    `lock` is held during an exchange, so that nobody reads another's answer.
    """

    name: str
    lock: threading.RLock

    @abstractmethod
    def tell(self, text: str) -> None:
        """Send a line."""

    @abstractmethod
    def hear(self) -> str:
        """Return the next line. Raises DeviceTimeoutError, DeviceError for what is no text."""

    @abstractmethod
    def clear(self) -> None:
        """Throw away what has come and was not read."""

    @abstractmethod
    def close(self) -> None:
        """Close it."""

    def ask(self, text: str) -> str:
        """Send a line and return the answer."""
        with self.lock:
            self.tell(text)
            return self.hear()


@dataclass(frozen=True, kw_only=True)
class LineValuesConfig(ValuesConfig, ABC):
    """What to say to an instrument to set and read numbers."""

    kind: OutputKind = key("analogue", "what it is; 'coils' for a coil supply")
    set: tuple[str, ...] = key(
        (), "line that sets each channel, such as 'CURR1 {value:.4f}'; none where `write` is given"
    )
    write: str = key("", "one line that sets all, by their names, such as 'I {x:.3f} {y:.3f}'")
    get: tuple[str, ...] = key((), "line that asks for each channel; none where `read` is given")
    read: str = key("", "one line that asks for all; the answer holds one number per channel")
    answer: str = key("", "what it answers to a line that sets; '' if it says nothing to that")
    error_query: str = key("", "line that asks for errors after every write, such as 'SYST:ERR?'")
    no_error: str = key(r"[+-]?0\b.*", "pattern of the answer that means that there is none")
    setup: tuple[str, ...] = key((), "lines to send once it is connected")
    enable: tuple[str, ...] = key((), "lines that let its outputs act, sent at the safe values")
    disable: tuple[str, ...] = key((), "lines that stop them, sent at the end")

    def __post_init__(self) -> None:
        super().__post_init__()
        where = "output"
        if bool(self.set) == bool(self.write) or bool(self.get) == bool(self.read):
            raise ConfigError(f"{where}: give either set or write, and either get or read.")
        if self.set:
            self.check_lists(set=self.set)
        if self.get:
            self.check_lists(get=self.get)
        if not (self.answer or self.error_query):
            raise ConfigError(
                f"{where}: how does the device say that it has taken a value? Give answer or "
                "error_query."
            )
        try:
            re.compile(self.no_error)
            lines = self.lines(np.asarray(self.safe))
        except (ValueError, KeyError, IndexError, re.error) as error:
            raise ConfigError(
                f"{where}: a line or pattern cannot be used ({type(error).__name__}: {error}); "
                "set takes {value}, write takes the channels' names."
            ) from None
        if lines == self.lines(np.asarray(self.low)) and lines == self.lines(np.asarray(self.high)):
            raise ConfigError(f"{where}: the lines that set have no place for the values.")

    def lines(self, values: Floats) -> list[str]:
        """Return the lines that set values [C]."""
        numbers = [float(v) for v in values]
        if self.write:
            return [self.write.format(**dict(zip(self.channels, numbers, strict=True)))]
        return [text.format(value=v) for text, v in zip(self.set, numbers, strict=True)]


class LineValues(ValuePort):
    """Numbers that are set and read in lines of text; every write is confirmed by the device."""

    def __init__(
        self, config: LineValuesConfig, take: Callable[[], Lines], leave: Callable[[], None]
    ) -> None:
        self._config = config
        self._take, self._leave = take, leave
        self._line: Lines | None = None

    def open(self) -> None:
        """Set up, go to the safe values, enable."""
        self._line = self._take()
        for text in self._config.setup:
            self._say(text)
        self.write(np.asarray(self._config.safe))
        for text in self._config.enable:
            self._say(text)

    def close(self) -> None:
        """Disable and let go."""
        if self._line is None:
            return
        try:
            for text in self._config.disable:
                self._say(text)
        finally:
            self._line = None
            self._leave()

    def write(self, values: Floats) -> None:
        """Set all channels, the others too if one is refused or gets no answer."""
        failed: list[DeviceError] = []
        for text in self._config.lines(values):
            try:
                self._say(text, self._config.answer)
            except DeviceError as error:
                failed.append(error)
        if failed:
            late = any(isinstance(error, DeviceTimeoutError) for error in failed)
            kind = DeviceTimeoutError if late else DeviceError
            raise kind(" ".join(map(str, failed)))

    def read(self) -> Floats:
        """Ask for all channels."""
        config = self._config
        if config.read:
            return np.array(self._numbers(config.read, len(config.channels)))
        return np.array([self._numbers(text, 1)[0] for text in config.get])

    def _numbers(self, question: str, count: int) -> list[float]:
        line = self._opened
        with line.lock:
            answer = line.ask(question)
            found = [float(text) for text in NUMBER.findall(answer)]
            if len(found) != count:
                self._recover(line)
                raise DeviceError(
                    f"{line.name}: answered {answer!r} to {question!r}; {count} number(s) were "
                    "expected."
                )
        return found

    def _say(self, text: str, expected: str = "") -> None:
        """Send a line, take its answer if it has one, and ask whether there was an error."""
        config, line = self._config, self._opened
        with line.lock:
            line.tell(text)
            if expected:
                heard = line.hear()
                if heard != expected:
                    self._recover(line)
                    raise DeviceError(
                        f"{line.name}: answered {heard!r} to {text!r}, not {expected!r}."
                    )
            if config.error_query:
                heard = line.ask(config.error_query)
                if not re.fullmatch(config.no_error, heard):
                    self._recover(line)
                    raise DeviceError(f"{line.name}: says {heard!r} after {text!r}.")

    def _recover(self, line: Lines) -> None:
        # An answer too many would be taken for that to the next question.
        with suppress(DeviceError):
            line.clear()

    @property
    def _opened(self) -> Lines:
        assert self._line is not None, "the port is not open"
        return self._line


class LineInterlock(InterlockPort):
    """An interlock that answers a question; anything but the right answer means open."""

    def __init__(
        self, query: str, closed: str, take: Callable[[], Lines], leave: Callable[[], None]
    ) -> None:
        self._query, self._closed = query, closed
        self._take, self._leave = take, leave
        self._line: Lines | None = None

    def open(self) -> None:
        """Open the line."""
        self._line = self._take()

    def close(self) -> None:
        """Let go of the line."""
        if self._line is not None:
            self._line = None
            self._leave()

    def closed(self) -> bool:
        """Ask whether the circuit is closed."""
        assert self._line is not None, "the port is not open"
        return re.fullmatch(self._closed, self._line.ask(self._query)) is not None
