"""The Gymnasium vector view for engines that are not made of pure functions: one process a swarm.

Worker processes are started afresh (spawned), so that an engine which allows one of its kind per
process, as ESPResSo does, can be in every one of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.async_vector_env import AsyncState

from swarmctl.core.errors import ConfigError, WorkerDiedError
from swarmctl.envs.make import make, make_scenario

PATIENCE = 5.0
"""Seconds that a worker has to end by itself before it is ended."""


class WorkerVectorEnv(AsyncVectorEnv):
    """B swarms, each in a process of its own, as one Gymnasium vector environment.

    Observations, actions, rewards and infos are those of `swarmctl.envs.gym_env.SwarmGymEnv`, one
    row a swarm. An error in a worker, such as PhysicsError, is raised here. A worker that dies
    raises WorkerDiedError; all others are ended then, and the environment is closed.

    Args:
        scenario: an id such as "Chemotaxis-v0", or ``"my_file.py:MyConfig"``.
        num_envs: number of swarms B.
        engine: any registered engine.
        autoreset_mode: as in `gymnasium.vector.AsyncVectorEnv`.
        options: keys of the scenario, and `render_mode`.
    Raises ConfigError, UnknownNameError, CapabilityError.
    """

    def __init__(
        self,
        scenario: str,
        num_envs: int = 1,
        engine: str = "espresso",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **options: Any,
    ) -> None:
        if num_envs < 1:
            raise ConfigError(f"num_envs must be at least 1, got {num_envs}.")
        if not isinstance(scenario, str):
            raise ConfigError(
                "worker processes make the scenario themselves: give its id or "
                "'my_file.py:MyConfig' and its keys, not a scenario that is made already."
            )
        keys = {name: value for name, value in options.items() if name != "render_mode"}
        make_scenario(scenario, **keys)  # wrong keys are told here, not by a dead worker
        one = functools.partial(make, scenario, engine, **options)
        super().__init__([one] * num_envs, context="spawn", autoreset_mode=autoreset_mode)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start episodes; a number seeds swarm i with seed + i."""
        return self._while_alive(
            lambda: super(WorkerVectorEnv, self).reset(seed=seed, options=options)
        )

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Act for one control interval in every swarm."""
        return self._while_alive(lambda: super(WorkerVectorEnv, self).step(actions))

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of every environment, or get an attribute."""
        return self._while_alive(lambda: super(WorkerVectorEnv, self).call(name, *args, **kwargs))

    def _while_alive(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except (EOFError, ConnectionError, AttributeError) as error:
            # AttributeError: an earlier error has taken the pipe of a worker away.
            dead = self._bury()
            raise WorkerDiedError(
                f"{dead}. The other workers were ended and the environment is closed; make it "
                "again. Exit code -9 is often a lack of memory: use fewer swarms."
            ) from error
        except gymnasium.error.Error:
            raise
        except Exception:
            # Gymnasium has shut the worker down that raised; the others cannot go on without it.
            self._bury()
            raise

    def _bury(self) -> str:
        """End all workers and close; return who was dead already."""
        for process in self.processes:
            process.join(0.1)
        codes = {i: p.exitcode for i, p in enumerate(self.processes) if not p.is_alive()}
        for process in self.processes:
            if process.is_alive():
                process.terminate()
        for process in self.processes:
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()
        self._state = AsyncState.DEFAULT
        for pipe in self.parent_pipes:
            if pipe is not None:
                pipe.close()
        self.closed = True
        listed = ", ".join(f"worker {i} (exit code {code})" for i, code in codes.items())
        return f"of {self.num_envs} workers these have died: {listed or 'none, but one hung up'}"
