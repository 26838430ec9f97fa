"""The command line: parses and calls; every verb is a function of one frozen configuration."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swarmctl import __version__
from swarmctl.core.config import build, parse_value
from swarmctl.core.errors import SwarmctlError
from swarmctl.core.registry import load_target
from swarmctl.training import configs

VERBS: dict[str, tuple[type[Any], str]] = {
    "demo": (configs.DemoConfig, "swarmctl.training.demo:demo"),
    "train": (configs.TrainConfig, "swarmctl.training.train:train"),
    "study": (configs.StudyConfig, "swarmctl.training.study:study"),
    "evaluate": (configs.EvaluateConfig, "swarmctl.training.evaluate:evaluate"),
    "render": (configs.RenderConfig, "swarmctl.training.record:render"),
    "simulate": (configs.SimulateConfig, "swarmctl.training.simulate:simulate"),
    "list": (configs.ListConfig, "swarmctl.training.about:list_names"),
    "check": (configs.CheckConfig, "swarmctl.training.about:check"),
    "info": (configs.InfoConfig, "swarmctl.training.about:info"),
}

LAB_VERBS: dict[str, tuple[str, str]] = {
    "devices": ("swarmctl.lab.configs:DevicesConfig", "swarmctl.lab.devices:devices"),
    "check": ("swarmctl.lab.configs:CheckRigConfig", "swarmctl.lab.check:check_rig"),
    "calibrate": (
        "swarmctl.lab.calibrate_config:CalibrateConfig",
        "swarmctl.lab.calibrate:calibrate",
    ),
    "demo": ("swarmctl.lab.configs:LabDemoConfig", "swarmctl.lab.demo:demo"),
    "record": ("swarmctl.lab.configs:RecordConfig", "swarmctl.lab.record:record"),
    "replay": ("swarmctl.lab.replay_config:ReplayConfig", "swarmctl.lab.replay:replay"),
    "export": ("swarmctl.lab.export_config:ExportConfig", "swarmctl.lab.export:export"),
    "fit": ("swarmctl.lab.configs:FitConfig", "swarmctl.lab.fit:fit"),
    "run": ("swarmctl.lab.configs:RunConfig", "swarmctl.lab.run:run"),
    "stop": ("swarmctl.lab.configs:StopConfig", "swarmctl.lab.stop:stop"),
}
"""Verbs of `swarmctl lab`, loaded when they are asked for. They print their findings themselves."""

SPEAKING = ("demo", "simulate", "study")
"""Verbs that print their findings themselves."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status.

    0, 1 if a check found something, 2 for an error, 130 when interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser(lab=words[1:2] if words[:1] == ["lab"] else None)
    options = vars(parser.parse_args(words))
    verb = options.pop("verb")
    if verb == "lab":
        name = options.pop("lab_verb")
        verb, (config_target, target) = f"lab {name}", LAB_VERBS[name]
        config_class = load_target(config_target)
    else:
        config_class, target = VERBS[verb]
    try:
        config = build(config_class, _given(config_class, options))
        result = load_target(target)(config)
        return _tell(verb, result)
    except BrokenPipeError:
        # Whoever read us (head, less) has gone; nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SwarmctlError as error:
        print(f"swarmctl {verb}: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        hint = f" {interrupt}" if interrupt.args else ""
        if not hint and hasattr(config_class, "resume"):
            out = shlex.quote(str(options.get("out", config_class.out)))
            hint = f" Go on with: swarmctl {verb} --resume --out {out}"
        print(f"\nswarmctl {verb}: interrupted.{hint}", file=sys.stderr)
        return 130


def make_parser(lab: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Return the parser, made from the fields of the verbs' configurations.

    Of the verbs of `swarmctl lab` it knows those in `lab`, or all if none of them is one; an
    emergency stop must not wait for what other verbs import.
    """
    parser = argparse.ArgumentParser(
        prog="swarmctl",
        description="Control swarms of microscopic colloids, simulated and real.",
    )
    parser.add_argument("--version", action="version", version=f"swarmctl {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, (config_class, _) in VERBS.items():
        _add_verb(verbs, name, config_class)
    summary = "Microscopes and other set-ups, and the virtual one."
    group = verbs.add_parser("lab", help=summary, description=summary)
    if lab is not None:
        lab_verbs = group.add_subparsers(dest="lab_verb", required=True, metavar="VERB")
        for name in [name for name in lab if name in LAB_VERBS] or LAB_VERBS:
            _add_verb(lab_verbs, name, load_target(LAB_VERBS[name][0]))
    return parser


def _add_verb(verbs: Any, name: str, config_class: type[Any]) -> None:
    summary = (config_class.__doc__ or "").strip()
    sub = verbs.add_parser(name, help=summary.splitlines()[0], description=summary)
    hints = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        _add_argument(sub, field, hints[field.name])


def _add_argument(
    parser: argparse.ArgumentParser, field: dataclasses.Field[Any], hint: Any
) -> None:
    many = typing.get_origin(hint) is tuple
    text = field.metadata["doc"]
    default: Any = field.default
    if default not in ("", (), None):
        shown = " ".join(map(str, default)) if many else default
        text += f" (default: {shown})"
    common: dict[str, Any] = {"default": argparse.SUPPRESS, "help": text.replace("%", "%%")}
    if field.metadata["positional"]:
        parser.add_argument(
            field.name, nargs="*" if many else "?", metavar=field.name.upper(), **common
        )
    elif hint is bool:
        flag = field.name.replace("_", "-")
        parser.add_argument(f"--{flag}", action=argparse.BooleanOptionalAction, **common)
    else:
        flag = field.name.replace("_", "-")
        # Given twice, lists are joined: `--set a=1 --set b=2` must not drop the first.
        how: dict[str, Any] = {"nargs": "*", "action": "extend"} if many else {}
        parser.add_argument(f"--{flag}", metavar=_metavar(hint), **how, **common)


def _metavar(hint: Any) -> str:
    options = [hint]
    if isinstance(hint, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
    elif typing.get_origin(hint) is tuple:
        options = list(typing.get_args(hint)[:1])
    return {str: "TEXT", int: "N", float: "X", Path: "PATH"}.get(options[0], "VALUE")


def _given(config_class: type[Any], options: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(config_class)

    def read(value: Any, hint: Any) -> Any:
        if isinstance(value, list):
            return [read(item, typing.get_args(hint)[0]) for item in value]
        if hint in (str, Path) or Path in typing.get_args(hint) or not isinstance(value, str):
            return value
        return parse_value(value)

    return {name: read(value, hints[name]) for name, value in options.items()}


def _tell(verb: str, result: Any) -> int:
    """Print what a verb returned, if it did not speak itself."""
    if verb.startswith("lab "):
        return 0 if getattr(result, "passed", True) else 1
    if verb in SPEAKING:
        return 0
    from swarmctl.training.about import describe_result

    text, status = describe_result(result)
    if text:
        print(text, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
