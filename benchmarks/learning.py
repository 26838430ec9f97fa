"""Learning curves of every scenario, beside chance and the best by hand: docs/results/.

`python benchmarks/learning.py` runs `swarmctl study` on every experiment in examples/learning/;
`python benchmarks/learning.py swirl --seeds 2` on one of them. Studies live in build/learning and
go on after a kill. Each fills docs/results/<name>.json, .png and .gif, the results of the page
docs/scenarios/<name>.md, and the table of docs/results/index.md.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from pathlib import Path
from typing import Any

from swarmctl.core.statistics import interval_text
from swarmctl.training.configs import StudyConfig
from swarmctl.training.study import StudyRow, judge, study

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS, RESULTS = ROOT / "examples" / "learning", ROOT / "docs" / "results"
PAGES, WORK = ROOT / "docs" / "scenarios", ROOT / "build" / "learning"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="experiments; all if none is given")
    parser.add_argument(
        "--seeds", type=int, default=0, help="training seeds; those of the file if 0"
    )
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--trial", action="store_true", help="write nothing into docs/")
    parser.add_argument("--pages", action="store_true", help="only rewrite the pages")
    options = parser.parse_args()
    known = sorted(path.stem for path in EXPERIMENTS.glob("*.toml"))
    for name in options.names or known:
        if name not in known:
            parser.error(f"{name}: not in {EXPERIMENTS}, which has {', '.join(known)}")
        if not options.pages:
            learn(name, options.seeds, options.episodes, options.trial)
    if not options.trial:
        write_pages()


def learn(name: str, seeds: int, episodes: int, trial: bool) -> None:
    print(f"== {name}", flush=True)
    changed = (f"training.seeds={list(range(seeds))}",) if seeds else ()
    folder = WORK / (f"{name}-trial" if trial or seeds else name)
    experiment = str(EXPERIMENTS / f"{name}.toml")
    study(StudyConfig(experiment, folder, changed, episodes, size=420, progress=False))
    if trial:
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    for source, suffix in (("results.json", "json"), ("curve.png", "png"), ("movie.gif", "gif")):
        shutil.copyfile(folder / source, RESULTS / f"{name}.{suffix}")


def write_pages() -> None:
    """Fill the pages from docs/results/*.json."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    for name, data in found.items():
        page = PAGES / f"{name}.md"
        text = page.read_text(encoding="utf-8")
        head, _, rest = text.partition(BEGIN)
        _, _, tail = rest.partition(END)
        page.write_text(f"{head}{BEGIN}\n\n{block(name, data)}\n\n{END}{tail}", encoding="utf-8")
    lines = [
        "# Learning results",
        "",
        "What was learned, beside chance and the best controller by hand, as",
        "`python benchmarks/learning.py` measured it. Returns with 95 % intervals: over training",
        "seeds (Student) for what was learned, over swarms (bootstrap) for the others.",
        "",
        "| scenario | random | learned | best by hand | seeds | verdict |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, data in found.items():
        agents = data["agents"]
        best = agents.get("best", agents["random"])
        seeds = len(data["experiment"]["training"]["seeds"])
        lines.append(
            f"| [{data['scenario']}](../scenarios/{name}.md) | {number(agents['random'])} | "
            f"{number(agents['learned'])} | {number(best)} | {seeds} | {verdict(data)} |"
        )
    (RESULTS / "index.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def block(name: str, data: dict[str, Any]) -> str:
    """The results of one page."""
    lines = [
        f"| {data['scenario']} | return [95 %] | {data['measure']} [95 %] |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {row['label']} | {number(row)} | {number(row, 'measure')} |"
        for row in data["agents"].values()
    ]
    steps = data["curve"]["agent_steps"][-1] / 1e6
    seeds = len(data["experiment"]["training"]["seeds"])
    lines += [
        "",
        f"By these intervals {verdict(data)} Evaluated on {data['episodes']} "
        "swarms; intervals are over training seeds for what was learned, over swarms for the "
        f"others. {seeds} seeds of {steps:.3g} million agent-steps took "
        f"{data['training_seconds']:.0f} s of training in all.",
        "",
        f"![Learning curve of {data['scenario']}](../results/{name}.png)",
        "",
        f"![Film: the policy of the median seed in {data['scenario']}](../results/{name}.gif)",
        "",
        f"Made by `python benchmarks/learning.py {name}`, which is `swarmctl study "
        f"examples/learning/{name}.toml` and writes "
        f"[{name}.json](../results/{name}.json): all keys, curves and versions.",
    ]
    return "\n".join(lines)


def verdict(data: dict[str, Any]) -> str:
    """Who wins, by the rule of `study`."""
    return judge(
        tuple(
            StudyRow(role, row["label"], _limits(row["return"]), _limits(row["measure"]))
            for role, row in data["agents"].items()
        )
    )


def number(row: dict[str, Any], what: str = "return") -> str:
    return interval_text(*_limits(row[what]))


def _limits(values: list[float | None]) -> tuple[float, float, float]:
    mean, low, high = (math.nan if value is None else value for value in values)
    return mean, low, high


if __name__ == "__main__":
    main()
