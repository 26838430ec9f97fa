"""The page docs/validation.md and its pictures, from the stored results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness import Result, Row, load

BEGIN, END = "<!-- begin: benchmarks/validation/run.py -->", "<!-- end -->"
MARKS = {"pass": "pass", "fail": "**fail**", "unclear": "*unclear*"}


def _number(x: float, digits: int = 5) -> str:
    return f"{x:.{digits}g}"


def _cells(r: Row) -> tuple[str, ...]:
    error = "–" if r.error == 0 else _number(r.error, 2)
    cells = (r.quantity, _number(r.value), _number(r.reference), error, r.rule)
    return (*(c.replace("|", "\\|") for c in cells), MARKS[r.verdict], r.source)


HEAD = ("quantity", "value", "reference", "error", "tolerance", "verdict", "source")


def table(paths: Mapping[str, Path]) -> str:
    """All rows as Markdown, one table a case."""
    parts = []
    for title, path in paths.items():
        result, about = load(path)
        lines = [f"### {title}", "", "| " + " | ".join(HEAD) + " |", "|" + " --- |" * len(HEAD)]
        lines += ["| " + " | ".join(_cells(r)) + " |" for r in result.rows]
        said = f"Seed {about['seed']}, {about['dtype']}, {about['wall_s']:.0f} s."
        lines += ["", " ".join([*result.remarks, said])]
        name = about["case"]
        if name in FIGURES:
            lines += ["", f"![{title}](images/validation-{name}.png)"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def summary(paths: Mapping[str, Path]) -> str:
    """How many rows passed, per case."""
    lines = ["| case | rows | passed | failed or unclear |", "| --- | --- | --- | --- |"]
    for title, path in paths.items():
        result, _ = load(path)
        rows = result.rows
        passed = sum(r.verdict == "pass" for r in rows)
        lines.append(f"| {title} | {len(rows)} | {passed} | {len(rows) - passed} |")
    return "\n".join(lines)


def write_page(paths: Mapping[str, Path], root: Path) -> None:
    """Write pictures, and the generated part of the page between its markers."""
    for path in paths.values():
        result, about = load(path)
        if about["case"] in FIGURES:
            _draw(about["case"], result, root / "docs" / "images")
    versions = sorted(
        {f"swarmctl {a['version']}, JAX {a['jax']}" for _, a in map(load, paths.values())}
    )
    wall = sum(load(path)[1]["wall_s"] for path in paths.values())
    made = f"Made with {' and '.join(versions)}; {wall / 60:.0f} minutes in all."
    page = root / "docs" / "validation.md"
    text = page.read_text("utf-8")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    body = "\n\n".join((made, summary(paths), table(paths)))
    page.write_text(f"{head}{BEGIN}\n\n{body}\n\n{END}{tail}", "utf-8")


def _draw(name: str, result: Result, folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    draw, panels = FIGURES[name]
    style: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    style["legend.frameon"] = False
    with matplotlib.rc_context(style):
        figure, axes = pyplot.subplots(
            1, panels, figsize=(3.4 * panels, 2.7), layout="constrained", squeeze=False
        )
        draw(result.curves, axes[0])
        figure.savefig(folder / f"validation-{name}.png", dpi=110, metadata={"Software": None})
        pyplot.close(figure)


def _free(c: dict[str, Any], axes: Any) -> None:
    for d in ("2D", "3D"):
        s = c[d]
        axes[0].loglog(s["t"][::6], s["msd"][::6], "o", ms=3, label=d)
        axes[0].loglog(s["t"], s["theory"], "k-", lw=0.8)
        axes[1].plot(s["lag"][:60], s["velocity"][:60], "o", ms=3, label=d)
    axes[1].plot(c["2D"]["lag"][:60], [math.exp(-x) for x in c["2D"]["lag"][:60]], "k-", lw=0.8)
    axes[0].set(xlabel="t/τ", ylabel="MSD (µm²)")
    axes[1].set(xlabel="t/τ", ylabel="⟨v(0)·v(t)⟩/v²")
    axes[0].legend()


def _trap(c: dict[str, Any], axes: Any) -> None:
    for label, s in c.items():
        axes[0].plot(s["r"], s["p"], "o-", ms=3, lw=0.8, label=label.split("=")[1].strip(" :"))
    axes[0].set(xlabel="r (µm)", ylabel="p(r) (1/µm)")
    axes[0].legend(title="v, k, D, D_r")


def _boltzmann(c: dict[str, Any], axes: Any) -> None:
    s = c["double well"]
    axes[0].plot(s["x"], s["p"], "o", ms=3, label="engine")
    axes[0].plot(s["x"], s["theory"], "k-", lw=0.8, label="exp(−U/k_B T)")
    axes[0].set(xlabel="x (µm)", ylabel="p(x) (1/µm)", ylim=(0, 0.95))
    axes[0].legend(loc="upper center", ncols=2)


def _pressure(c: dict[str, Any], axes: Any) -> None:
    for label, s in c.items():
        width = s["x"][-1] + s["x"][0]
        axes[0].plot([x / width for x in s["x"]], s["density"], "o-", ms=3, lw=0.8, label=label)
    axes[0].set(xlabel="x/L", ylabel="density / mean", yscale="log")
    axes[0].legend()


def _sedimentation(c: dict[str, Any], axes: Any) -> None:
    axes[0].semilogy(c["height"], c["density"], "o", ms=3, label="engine")
    at = [(x, y) for x, y in zip(c["height"], c["density"], strict=True) if x > c["layer"]]
    scale = at[0][1] * math.exp(at[0][0])
    axes[0].semilogy([x for x, _ in at], [scale * math.exp(-x) for x, _ in at], "k-", lw=0.8)
    axes[0].axvline(c["layer"], color="grey", lw=0.6, ls=":")
    axes[0].set(xlabel="height v_s/D_eff", ylabel="density (D_eff/v_s)")


def _field(c: dict[str, Any], axes: Any) -> None:
    x = [0.01 * i for i in range(1, 451)]
    axes[0].plot(x, [w - math.sqrt(max(w * w - 1, 0)) for w in x], "k-", lw=0.8)
    for label, s in c.items():
        axes[0].plot(s["ratio"], s["rate"], "o" if label == "2D" else "x", ms=4, label=label)
    axes[0].set(xlabel="ω/ω_c", ylabel="mean turn rate / ω_c")
    axes[0].legend()


def _order(c: dict[str, Any], axes: Any) -> None:
    axes[0].errorbar(c["product"], c["error"], c["sigma"], fmt="o", ms=4)
    first = c["error"][-1] / c["product"][-1]
    axes[0].plot(c["product"], [first * p for p in c["product"]], "k-", lw=0.8, label="slope 1")
    axes[0].set(xscale="log", yscale="log", xlabel="dt k/γ", ylabel="error of a variance")
    axes[0].set_xticks(c["product"], [f"{p:g}" for p in c["product"]])
    axes[0].set_xticks([], minor=True)
    axes[0].legend()


def _convergence(c: dict[str, Any], axes: Any) -> None:
    products = c["product"]
    for axis, (name, s) in zip(axes, [i for i in c.items() if i[0] != "product"], strict=False):
        axis.errorbar(products, s["value"], s["error"], fmt="o", ms=4)
        x = [0.0, products[0]]
        axis.plot(x, [s["line"][1] + s["line"][0] * p for p in x], "k-", lw=0.8)
        axis.set(xlabel="dt 72ε/c²γ", ylabel=name.split(" per")[0])


def _delay(c: dict[str, Any], axes: Any) -> None:
    for late, s in c.items():
        axes[0].plot(s["v"], s["r"], "o-", ms=3, lw=0.8, label=f"ℓ = {late}")
    axes[0].set(xlabel="v/√(D/τ)", ylabel="⟨r⟩/√(Dτ)")
    axes[0].legend()


def _lammps(c: dict[str, Any], axes: Any) -> None:
    for axis, (name, s) in zip(axes, [i for i in c.items() if i[0] != "r"], strict=False):
        axis.plot(c["r"], s["LAMMPS"], "k-", lw=1, label="LAMMPS")
        axis.plot(c["r"], s["swarmctl"], "o", ms=3, label="swarmctl")
        axis.set(xlabel="r/2a", ylabel="g(r)", title=name.replace("phi", "φ ="))
        axis.legend()


def _espresso(c: dict[str, Any], axes: Any) -> None:
    g, trap = c["g"], c["trap"]
    axes[0].plot(g["r"], g["JAX"], "k-", lw=1, label="JAX engine")
    axes[0].plot(g["r"], g["ESPResSo"], "o", ms=3, label="ESPResSo")
    axes[0].set(xlabel="r/2a", ylabel="g(r)", title="φ = 0.3")
    axes[0].legend()
    axes[1].plot(trap["x"], trap["theory"], "k-", lw=0.8, label="exp(−kx²/2k_B T)")
    for name, mark in (("JAX", "x"), ("ESPResSo", "o")):
        axes[1].plot(trap["x"], trap[name], mark, ms=3, label=name)
    axes[1].set(xlabel="x (µm)", ylabel="p(x) (1/µm)", title="harmonic trap")
    axes[1].set_ylim(top=1.8 * max(trap["theory"]))  # room for the legend above the curve
    axes[1].legend()


def _mips(c: dict[str, Any], axes: Any) -> None:
    for name, s in c.items():
        axes[0].plot(s["phi"], s["p"], label=name)
    axes[0].set(xlabel="local packing fraction", ylabel="probability density")
    axes[0].legend()


FIGURES: dict[str, tuple[Callable[[dict[str, Any], Any], None], int]] = {
    "free": (_free, 2),
    "trap": (_trap, 1),
    "boltzmann": (_boltzmann, 1),
    "pressure": (_pressure, 1),
    "sedimentation": (_sedimentation, 1),
    "rotating-field": (_field, 1),
    "weak-order": (_order, 1),
    "convergence": (_convergence, 2),
    "delay": (_delay, 1),
    "lammps": (_lammps, 2),
    "espresso": (_espresso, 2),
    "mips": (_mips, 1),
}
