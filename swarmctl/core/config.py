"""Frozen, typed configurations: built from TOML tables and `key=value` texts, written back, and
described.

Every configuration is a frozen dataclass whose fields are made by `key`. Quantities carry their
unit in the field; files and the command line may say "2.14 um", Python code passes plain numbers.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from swarmctl.core.errors import ConfigError, UnknownNameError, nearest
from swarmctl.core.units import parse_quantity

T = TypeVar("T")


def key(default: Any, doc: str, unit: str | None = None, positional: bool = False) -> Any:
    """Declare a configuration field: its default, what it means, and its unit if it is a quantity.

    `positional` fields are given without their name on the command line. Where a key may hold one
    of several configurations, each of those classes has a class variable `kind`, by which tables
    choose.
    """
    metadata = {"doc": doc, "unit": unit, "positional": positional}
    if isinstance(default, (list, dict, set)):
        raise TypeError("defaults must be immutable")
    return dataclasses.field(default=default, metadata=metadata)


def required(doc: str, unit: str | None = None) -> Any:
    """Declare a configuration field that has to be given, as by `key` but without a default."""
    return dataclasses.field(metadata={"doc": doc, "unit": unit, "positional": False})


def build(cls: type[T], data: Mapping[str, Any], path: str = "") -> T:
    """Build a configuration from a mapping (a TOML table). Unknown keys are refused with the
    nearest name.

    Raises UnknownNameError for an unknown key, UnitError for a quantity that cannot be read and
    ConfigError for a value of the wrong type or out of range.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path or cls.__name__}: expected a table, got {data!r}.")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    values = {}
    for name, value in data.items():
        where = f"{path}.{name}" if path else name
        if name == "kind" and getattr(cls, "kind", None) == value:
            continue
        if name not in fields:
            raise UnknownNameError(f"Unknown key {where!r}. {nearest(name, fields)}")
        unit = fields[name].metadata.get("unit")
        values[name] = _convert(hints[name], value, unit, where)
    missing = [
        f.name
        for f in fields.values()
        if f.name not in values
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{path or cls.__name__}: missing key(s) {', '.join(missing)}.")
    return cls(**values)


def _convert(hint: Any, value: Any, unit: str | None, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(hint, value, unit, where)
    if origin is Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            raise ConfigError(
                f"{where}: {value!r} is not allowed. {nearest(str(value), map(str, allowed))}"
            )
        return value
    if origin is tuple:
        return _convert_tuple(hint, value, unit, where)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, hint):  # type: ignore[arg-type]
            return value
        return build(hint, value, where)  # type: ignore[arg-type]
    return _convert_plain(hint, value, unit, where)


def _convert_union(hint: Any, value: Any, unit: str | None, where: str) -> Any:
    options = [arg for arg in typing.get_args(hint) if arg is not type(None)]
    if isinstance(value, (type(None), str)) and value in (None, "none"):
        return None
    kinds = {o.kind: o for o in options if hasattr(o, "kind")}
    if kinds and isinstance(value, Mapping):
        if "kind" not in value:
            raise ConfigError(f"{where}: say which kind; allowed: {', '.join(sorted(kinds))}.")
        if value["kind"] not in kinds:
            raise UnknownNameError(
                f"{where}: unknown kind {value['kind']!r}. {nearest(str(value['kind']), kinds)}"
            )
        return build(kinds[value["kind"]], value, where)
    if isinstance(value, tuple(o for o in options if isinstance(o, type))) and (
        dataclasses.is_dataclass(value)
    ):
        return value
    errors = []
    for option in options:
        try:
            return _convert(option, value, unit, where)
        except (ConfigError, UnknownNameError) as error:
            errors.append(error)
    raise errors[0] if len(errors) == 1 else ConfigError(" or: ".join(str(e) for e in errors))


def _convert_tuple(hint: Any, value: Any, unit: str | None, where: str) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where}: expected a list, got {value!r}.")
    args = typing.get_args(hint)
    if len(args) == 2 and args[1] is Ellipsis:
        item_hints = [args[0]] * len(value)
    elif len(args) != len(value):
        raise ConfigError(f"{where}: expected {len(args)} values, got {len(value)}.")
    else:
        item_hints = list(args)
    return tuple(
        _convert(item, part, unit, f"{where}[{i}]")
        for i, (item, part) in enumerate(zip(item_hints, value, strict=True))
    )


def _convert_plain(hint: Any, value: Any, unit: str | None, where: str) -> Any:
    if hint is float:
        return parse_quantity(value, unit or "", where)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is Any:
        return value
    if (isinstance(value, bool) and hint is not bool) or not isinstance(value, hint):
        raise ConfigError(f"{where}: expected {hint.__name__}, got {value!r}.")
    return value


def parse_override(text: str) -> tuple[list[str], Any]:
    """Read ``"a.b=value"`` into a path and a TOML value; a bare word is taken as text.

    >>> parse_override("scenario.radius=2.14 um")
    (['scenario', 'radius'], '2.14 um')
    >>> parse_override("agent.hidden=[12, 12]")
    (['agent', 'hidden'], [12, 12])
    """
    name, equals, raw = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"{text!r}: expected key=value, for example scenario.colloids=20.")
    return [part.strip() for part in name.split(".")], parse_value(raw)


def parse_value(text: str) -> Any:
    """Read a TOML value; anything else is taken as text.

    >>> parse_value("3"), parse_value("true"), parse_value("2 um")
    (3, True, '2 um')
    """
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def apply_overrides(data: dict[str, Any], overrides: typing.Iterable[str]) -> dict[str, Any]:
    """Return a copy of nested tables with ``a.b=value`` texts laid over."""
    import copy

    result = copy.deepcopy(data)
    for text in overrides:
        path, value = parse_override(text)
        table = result
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{text!r}: {part!r} is not a table.")
        table[path[-1]] = value
    return result


def to_dict(config: Any) -> dict[str, Any]:
    """Turn a configuration into plain tables: quantities as text with units, None left out."""
    result: dict[str, Any] = {"kind": config.kind} if hasattr(config, "kind") else {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if value is None or not f.init:
            continue
        result[f.name] = _plain(value, f.metadata.get("unit"))
    return result


def _plain(value: Any, unit: str | None) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item, unit) for item in value]
    if isinstance(value, float) and unit:
        return f"{value!r} {unit}"
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: _plain(item, unit) for name, item in value.items()}
    if callable(value):
        return f"{value.__module__}:{value.__qualname__}"
    return value


def describe(cls: type[Any], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield (key, type or unit, default, meaning) for every key, nested ones with dots."""
    hints = typing.get_type_hints(cls)
    for f in dataclasses.fields(cls):
        if not f.init:
            continue
        hint = hints[f.name]
        doc = f.metadata.get("doc", "")
        default = "required" if f.default is dataclasses.MISSING else repr(f.default)
        if dataclasses.is_dataclass(hint):
            yield from describe(hint, f"{prefix}{f.name}.")  # type: ignore[arg-type]
            continue
        unit = f.metadata.get("unit")
        kind = unit if unit else getattr(hint, "__name__", str(hint)).replace("typing.", "")
        if typing.get_origin(hint) is not None:
            kind = unit or str(hint).replace("typing.", "")
        yield f"{prefix}{f.name}", kind, default, doc


def dump_toml(data: Mapping[str, Any]) -> str:
    """Write nested tables as TOML text; floats keep every digit."""
    lines: list[str] = []
    _dump_table(data, "", lines)
    return "\n".join(lines).strip() + "\n"


def _dump_table(table: Mapping[str, Any], path: str, lines: list[str]) -> None:
    nested = {}
    for name, value in table.items():
        if isinstance(value, Mapping) or (
            isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value)
        ):
            nested[name] = value
        else:
            lines.append(f"{name} = {_toml_value(value)}")
    for name, value in nested.items():
        inner = f"{path}.{name}" if path else name
        for item in value if isinstance(value, list) else [value]:
            lines.append("")
            lines.append(f"[[{inner}]]" if isinstance(value, list) else f"[{inner}]")
            _dump_table(item, inner, lines)


def _toml_value(value: Any) -> str:
    import json

    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {_toml_value(v)}" for name, v in value.items()) + "}"
    # JSON leaves DEL as it is; TOML forbids it.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
