"""Parts of the documentation that are made from the code, so that they cannot drift.

A hook of MkDocs. A line `<!-- generate: NAME ARGUMENT -->` in a page is replaced by what
`PARTS[NAME](ARGUMENT)` returns, and a fenced block of type `math` by a drawing of its formulas.
Build the pages with `mkdocs build --strict`.
"""

from __future__ import annotations

import argparse
import html
import inspect
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority

ROOT = Path(__file__).resolve().parents[1]
_temporary: list[Path] = []


@event_priority(100)
def on_config(config: Any) -> Any:
    """Show mkdocstrings the package as it is installed, and list the decisions that there are."""
    packages = Path(tempfile.mkdtemp(prefix="swarmctl-docs-"))
    _temporary.append(packages)
    inside = packages / "swarmctl"
    inside.mkdir()
    for item in (*(ROOT / "swarmctl").iterdir(), ROOT / "envs", ROOT / "agents"):
        if item.name != "__pycache__":
            (inside / item.name).symlink_to(item)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [str(packages)]
    for section in config.nav:
        if "Decisions" in section:
            section["Decisions"] = [
                {"Index": "decisions/index.md"},
                *(
                    {f"{number} {title}": f"decisions/{name}"}
                    for number, title, name in decisions()
                ),
            ]
    return config


def on_post_build(**_: Any) -> None:
    """Remove what `on_config` made."""
    while _temporary:
        shutil.rmtree(_temporary.pop(), ignore_errors=True)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in the generated parts of a page."""

    def part(match: re.Match[str]) -> str:
        name, _, argument = match[1].strip().partition(" ")
        if name not in PARTS:
            raise PluginError(
                f"{page.file.src_uri}: unknown part {name!r}; there are {', '.join(PARTS)}."
            )
        return PARTS[name](argument.strip())

    markdown = re.sub(r"^<!-- generate:(.*)-->$", part, markdown, flags=re.MULTILINE)
    counter = iter(range(10**6))

    def drawing(match: re.Match[str]) -> str:
        lines = [line for line in match[1].splitlines() if line.strip()]
        return "\n".join(_formula(line, f"m{next(counter)}") for line in lines)

    return re.sub(r"^```math\n(.*?)^```$", drawing, markdown, flags=re.MULTILINE | re.DOTALL)


def _formula(tex: str, prefix: str) -> str:
    """One formula as inline SVG, in the colour of the text."""
    import matplotlib
    from matplotlib.mathtext import math_to_image

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "swarmctl", "mathtext.fontset": "stix"}):
        math_to_image(f"${tex}$", buffer, format="svg", dpi=72)
    text = buffer.getvalue().decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'<g id="patch_1">.*?</g>', "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}\1"', text)
    width, height = (float(x) for x in re.search(r'viewBox="0 0 (\S+) (\S+)"', text).groups())  # type: ignore[union-attr]
    size = f'style="width:{width * 0.115:.2f}em;height:{height * 0.115:.2f}em"'
    head = (
        f'<svg viewBox="0 0 {width} {height}" {size} role="img" aria-label="{html.escape(tex)}" '
        'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns="http://www.w3.org/2000/svg">'
    )
    text = re.sub(r"<svg [^>]*>", lambda _: head, text, count=1)
    packed = re.sub(r">\s+<", "><", text).strip()
    return f'<div class="math">{packed}</div>\n'


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _kind(text: str) -> str:
    """The type of a key in words."""
    text = text.replace("None | ", "").replace(" | None", "")
    text = re.sub(r"(float \| )?swarmctl\.core\.randomise\.Normal \|.*\.Uniform", "spread", text)
    text = text.replace("swarmctl.core.randomise.SpeciesRange", "table")
    if match := re.fullmatch(r"Literal\[(.*)\]", text):
        return match[1].replace("'", "`").replace("`, `", "`, `")
    text = re.sub(r"tuple\[(\w+), \.\.\.\]", r"list of \1", text)
    words = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}
    text = re.sub(r"\b(int|float|str|bool)\b", lambda match: words[match[0]], text)
    return (
        text + "s" if text in ("list of whole number", "list of number", "list of text") else text
    )


def _keys_of(config_class: type[Any]) -> str:
    from swarmctl.core.config import describe, dump_toml, to_dict

    described = list(describe(config_class))
    whole = all(default != "required" for *_, default, _ in described)
    defaults = to_dict(config_class()) if whole else {}
    rows = []
    for name, kind, default, doc in described:
        shown = (
            dump_toml({name: defaults[name]}).strip().partition(" = ")[2]
            if name in defaults
            else ""
            if whole or default in ("None", "''", "()")
            else default
        )
        shown = f"`{shown}`" if shown not in ("", "required") else shown or "left out"
        rows.append((f"`{name}`", _kind(kind), shown, doc))
    return (
        _table(("key", "unit or type", "default", "meaning"), rows) if rows else "It has no keys."
    )


def keys(name: str) -> str:
    """Keys of a registered scenario, agent or engine, of training, or of what is randomised."""
    from swarmctl.core import registry
    from swarmctl.core.randomise import Randomise, SpeciesRange
    from swarmctl.training.experiment import TrainingConfig

    plain = {
        "training": TrainingConfig,
        "randomise": Randomise,
        "randomise.species": SpeciesRange,
    }
    if name in plain:
        return _keys_of(plain[name])
    if name in registry.engines:
        return _keys_of(registry.engines[name].load().config_class)
    kind = registry.scenarios if name in registry.scenarios else registry.agents
    return _keys_of(kind[name].load())


def class_keys(target: str) -> str:
    """Keys of a configuration class, "module:Class"."""
    from swarmctl.core.registry import load_target

    return _keys_of(load_target(target))


def all_keys(kind: str) -> str:
    """Keys of every registered scenario, or agent."""
    from swarmctl.core import registry

    entries = {"scenarios": registry.scenarios, "agents": registry.agents}[kind]
    return "\n\n".join(f"### {e.name}\n\n{e.summary}\n\n{keys(e.name)}" for e in entries)


def registered(kind: str) -> str:
    """Names and summaries of registered scenarios, engines or agents."""
    from swarmctl.core import registry

    entries = {
        "scenarios": registry.scenarios,
        "agents": registry.agents,
        "engines": registry.engines,
    }
    return _table(("name", "what it is"), [(f"`{e.name}`", e.summary) for e in entries[kind]])


def driver_table(_: str) -> str:
    """Drivers of devices, with their roles and what they need."""
    from swarmctl.bridge.devices.listing import driver_lines

    return _table(
        ("driver", "role", "what it is", "needs"),
        [
            (f"`{one.name}`", one.role, one.summary, f"`{one.package}`" if one.package else "")
            for one in driver_lines()
        ],
    )


def driver_keys(_: str) -> str:
    """Keys of every driver of devices."""
    from swarmctl.bridge.devices.drivers import drivers

    return "\n\n".join(f"## {e.name}\n\n{e.summary}\n\n{_keys_of(e.load())}" for e in drivers())


def commands(_: str) -> str:
    """The command line, from its parser."""
    os.environ["COLUMNS"] = "84"
    from swarmctl.cli import make_parser

    parts = []
    for name, sub in _verbs(make_parser(lab=())):
        rows = []
        for action in sub._actions:
            flag = ", ".join(action.option_strings) or str(action.metavar)
            if action.option_strings and action.nargs != 0 and action.metavar:
                flag += f" {action.metavar}"
            rows.append((f"`{flag}`", (action.help or "").replace("%%", "%")))
        parts.append(
            f"## {name}\n\n{sub.description}\n\n```text\n{sub.format_usage().strip()}\n```\n\n"
            + _table(("argument", "meaning"), rows)
        )
    return "\n\n".join(parts)


def _verbs(parser: argparse.ArgumentParser) -> list[tuple[str, argparse.ArgumentParser]]:
    """Verbs of a parser, those of groups such as `lab` by two words."""
    found = []
    for group in (a for a in parser._actions if isinstance(a, argparse._SubParsersAction)):
        for name, sub in group.choices.items():
            inner = [(f"{name} {word}", verb) for word, verb in _verbs(sub)]
            found += inner or [(name, sub)]
    return found


def modules(package: str) -> str:
    """API entries of all modules of a package that have something to show."""
    folder = ROOT / package.partition(".")[2].replace(".", "/")
    if not folder.is_dir():
        folder = ROOT / package.replace(".", "/")
    entries = []
    for path in sorted(folder.rglob("*.py")):
        name = ".".join((package, *path.relative_to(folder).with_suffix("").parts))
        name = name.removesuffix(".__init__")
        if path.stem.startswith("_") and path.stem != "__init__":
            continue
        if re.search(r"^(class|def) [^_]", path.read_text("utf-8"), flags=re.MULTILINE):
            entries.append(f"::: {name}")
    return "\n\n".join(entries)


def errors(text: str) -> str:
    """Exceptions with their parents and meaning; what to do stands in the page."""
    from swarmctl.core import errors as module

    rows = []
    for name, thing in vars(module).items():
        if (
            inspect.isclass(thing)
            and issubclass(thing, Exception)
            and thing.__module__ == module.__name__
        ):
            parents = " and ".join(f"`{base.__name__}`" for base in thing.__bases__)
            rows.append((f"`{name}`", parents, (thing.__doc__ or "").strip()))
    return _table(("exception", "is a", "meaning"), rows)


def file(path: str) -> str:
    """A file of the repository as a block of code."""
    kind = {"py": "python", "toml": "toml"}[path.rpartition(".")[2]]
    return f"```{kind}\n{(ROOT / path).read_text('utf-8').rstrip()}\n```"


def decisions() -> list[tuple[str, str, str]]:
    """(number, title, file) of every decision record."""
    found = []
    for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        number, _, title = path.read_text("utf-8").partition("\n")[0].lstrip("# ").partition(" ")
        found.append((number, title, path.name))
    return found


def decision_table(_: str) -> str:
    """All decision records."""
    return _table(
        ("number", "decision"), [(n, f"[{title}]({name})") for n, title, name in decisions()]
    )


PARTS: dict[str, Callable[[str], str]] = {
    "keys": keys,
    "all-keys": all_keys,
    "class-keys": class_keys,
    "registered": registered,
    "drivers": driver_table,
    "driver-keys": driver_keys,
    "commands": commands,
    "modules": modules,
    "errors": errors,
    "file": file,
    "decisions": decision_table,
}
