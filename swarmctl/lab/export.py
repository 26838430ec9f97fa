"""The verb `lab export`: a recording as files of other programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarmctl.core.extras import import_extra
from swarmctl.core.registry import load_target
from swarmctl.lab.export_config import ExportConfig
from swarmctl.records.exports import export_trackpy

if TYPE_CHECKING:
    from swarmctl.lab.export_minari import MinariResult

__all__ = ["ExportConfig", "ExportResult", "export"]


@dataclass(frozen=True)
class ExportResult:
    """What was written: rows of the table and the data set, None for what was not wanted."""

    rows: int | None
    dataset: MinariResult | None


def export(config: ExportConfig, say: Callable[[str], None] = print) -> ExportResult:
    """Write what is wanted of a recording and say where it lies.

    Raises what `export_trackpy` and `export_minari` raise; MissingExtraError before anything is
    written.
    """
    table, dataset = config.table(), config.dataset()
    if dataset is not None:
        import_extra("minari")
    rows, written = None, None
    if table is not None:
        rows = export_trackpy(table)
        say(f"{table.out}: {rows} rows of episode {table.episode}")
    if dataset is not None:
        # A table needs no JAX, and does not wait for it.
        written = load_target("swarmctl.lab.export_minari:export_minari")(dataset)
        say(
            f"{written.path}: {written.episodes} episodes, {written.transitions} transitions; "
            f"minari.load_dataset({dataset.dataset!r}) reads it"
            + (f" with MINARI_DATASETS_PATH={dataset.folder.absolute()}" if dataset.folder else "")
        )
    return ExportResult(rows, written)
