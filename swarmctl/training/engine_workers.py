"""Rollouts in a process of its own, for engines that allow one of their kind per process.

Processes are started afresh (spawned). One that has lost the process that started it ends by
itself.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import jax
import numpy as np

from swarmctl.core import errors
from swarmctl.core.errors import SwarmctlError, WorkerDiedError
from swarmctl.training.collecting import Collected, Collector, Order

PATIENCE = 10.0
"""Seconds that a worker has to close its engine and end before it is ended."""


class WorkerCollector:
    """A collector in a worker process: `ask`, and later `answer`.

    Args:
        make: makes the collector in the process; it must be picklable.
        number: of the worker, for messages.
    """

    def __init__(self, make: Callable[[], Collector], number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._number = number
        self._pipe, there = context.Pipe()
        wide = bool(jax.config.read("jax_enable_x64"))
        self.process = context.Process(target=_serve, args=(there, make, wide), daemon=True)
        self.process.start()
        there.close()

    def ask(self, order: Order) -> None:
        """Have rollouts made. Raises WorkerDiedError."""
        fields = {name: jax.tree.map(np.asarray, value) for name, value in vars(order).items()}
        fields |= {"seed": order.seed, "number": order.number}
        try:
            self._pipe.send(Order(**fields))
        except OSError:
            raise self._died() from None

    def answer(self) -> Collected:
        """Wait for them. Raises WorkerDiedError, and what was raised in the worker."""
        try:
            found = self._pipe.recv()
        except (EOFError, OSError):
            raise self._died() from None
        if isinstance(found, Exception):
            raise found
        return found

    def _died(self) -> WorkerDiedError:
        self.process.join(PATIENCE)
        return WorkerDiedError(
            f"worker {self._number} of the training has died (exit code {self.process.exitcode}). "
            "Exit code -9 is often a lack of memory: use fewer workers."
        )

    def close(self) -> None:
        """Have the engine closed, and end the process; may be called twice."""
        try:
            self._pipe.send(None)
        except OSError:
            pass  # it is dead, or was closed before
        else:
            self.process.join(PATIENCE)
        for end in (self.process.terminate, self.process.kill):
            if self.process.is_alive():
                end()
                self.process.join(PATIENCE)
        self._pipe.close()


def _serve(pipe: Connection, make: Callable[[], Collector], wide: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process tells when to end
    # Engines are on the CPU, and no worker may take the memory of a GPU for its small arrays.
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", wide)
    collector: Collector | None = None
    try:
        while (order := _receive(pipe)) is not None:
            try:
                collector = collector or make()
                found: Any = collector.collect(order)
            except Exception as error:
                found = _portable(error)
            pipe.send(found)
    except OSError:
        pass  # the main process is gone
    finally:
        if collector is not None:
            collector.close()


def _receive(pipe: Connection) -> Order | None:
    try:
        return pipe.recv()
    except EOFError:
        return None


def _portable(error: Exception) -> Exception:
    """The error in a form that another process can raise, with where it came from."""
    error.add_note("In the worker:\n" + "".join(traceback.format_exception(error)))
    # Those of ours that are a message and nothing else arrive as what they are.
    ours = getattr(errors, type(error).__name__, None) is type(error)
    if ours and error.args == (str(error),):
        return error
    return SwarmctlError(f"{type(error).__name__}: {error}")
