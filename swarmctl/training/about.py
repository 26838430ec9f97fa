"""The verbs `list`, `info` and `check`, and what verbs print."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from swarmctl.core import registry
from swarmctl.core.config import describe
from swarmctl.core.errors import UnknownNameError, nearest
from swarmctl.core.extras import EXTRAS, has_extra
from swarmctl.engines import espresso_build
from swarmctl.training.configs import CheckConfig, InfoConfig, ListConfig

CORE = ("numpy", "jax", "jaxlib", "gymnasium", "optax", "h5py", "safetensors", "matplotlib", "pint")


def list_names(config: ListConfig) -> str:
    """Return all scenarios, engines and agents with one line each, or the keys of one of them."""
    registries = (registry.scenarios, registry.engines, registry.agents)
    name = config.name.removeprefix("swarmctl/")
    if name:
        for kind in registries:
            if name in kind:
                return _keys(kind[name])
        everything = [entry.name for kind in registries for entry in kind]
        raise UnknownNameError(f"Unknown name {name!r}. {nearest(name, everything)}")
    lines = []
    for kind in registries:
        lines.append(f"{kind.kind}s")
        lines += [f"  {entry.name:26}{entry.summary}" for entry in kind]
    lines.append("\nKeys of one of them: swarmctl list NAME")
    return "\n".join(lines)


def _keys(entry: registry.Entry) -> str:
    thing = entry.load()
    thing = getattr(thing, "config_class", thing)  # of engines with keys
    rows = list(describe(thing)) if hasattr(thing, "__dataclass_fields__") else []
    if not rows:
        return f"{entry.name}: {entry.summary}; it has no keys."
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    table = [
        f"  {k:{widths[0]}}  {kind:{widths[1]}}  {default:{widths[2]}}  {doc}"
        for k, kind, default, doc in rows
    ]
    return "\n".join([f"{entry.name}: {entry.summary}", "", *table])


def info(config: InfoConfig) -> str:
    """Return versions, devices and extras.

    Or the state of a run, after repairing what a kill left.
    """
    if config.run:
        from swarmctl.records.run_folder import describe_run

        return str(describe_run(Path(config.run)))
    lines = [
        f"swarmctl {importlib.metadata.version('swarmctl')}, Python {platform.python_version()}"
    ]
    lines.append("  " + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in CORE))
    lines.append(f"devices\n  {_devices()}")
    lines.append("engines")
    for entry in registry.engines:
        state = f"ready: {entry.summary}"
        if entry.name == "espresso" and not espresso_build.is_installed():
            state = f"not installed: {espresso_build.HOW_TO_GET}"
        lines.append(f"  {entry.name:10} {state}")
    lines.append("extras")
    for extra, (_, purpose) in EXTRAS.items():
        state = "ready" if has_extra(extra) else f'missing: pip install "swarmctl[{extra}]"'
        lines.append(f"  {extra:10} {state} ({purpose})")
    return "\n".join(lines)


def _devices() -> str:
    import jax

    return ", ".join(
        f"{device.platform} {device.id} ({device.device_kind})" for device in jax.devices()
    )


def check(config: CheckConfig) -> Any:
    """Run the contracts on a scenario, an engine or an agent, and return the report."""
    from swarmctl.testing import check as run

    return run(config.target)


def describe_result(result: Any) -> tuple[str, int]:
    """Return what to print of a verb's result, and the exit status."""
    if isinstance(result, str):
        return result, 0
    if isinstance(result, dict):
        return _evaluation_table(result), 0
    if hasattr(result, "findings"):
        return str(result), 1 if result.findings else 0
    if hasattr(result, "policies"):
        last = [row for row in result.metrics if row["episode_return"] is not None]
        earned = f", last return {last[-1]['episode_return']:.3f}" if last else ""
        count = len(result.policies)
        what = "policy" if count == 1 else "policies"
        return f"{count} {what} in {result.seconds:.0f} s{earned}: {result.path}", 0
    if hasattr(result, "movie"):
        lines = [str(path) for path in (*result.movie.paths, result.still, result.trajectory)]
        lines += [f"no {name}: {why}" for name, why in result.movie.skipped.items()]
        return "\n".join(lines), 0
    return "", 0


def _evaluation_table(results: dict[str, Any]) -> str:
    width = max(len(name) for name in results)
    lines = [f"{'':{width}}  {'return [95 %]':26}  last quarter: measure [95 %]"]
    for name, figures in results.items():
        cells = ["{:.3f} [{:.3f}, {:.3f}]".format(*figures[kind]) for kind in ("return", "measure")]
        lines.append(f"{name:{width}}  {cells[0]:26}  {cells[1]}")
    return "\n".join(lines)
