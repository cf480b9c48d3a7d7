"""The report as a picture: grouped bars of each library's time over Rushlight's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.machine import describe
from benchmarks.table import OURS, geometric_mean, ratio_to

if TYPE_CHECKING:
    from benchmarks.question import Result

__all__ = ["draw"]

# One colour a library, distinct to the colour-blind too (Okabe and Ito).
COLOURS = {
    "torch": "#D55E00",
    "torch_cl": "#E69F00",
    "onnxruntime": "#0072B2",
    "openvino": "#56B4E9",
    "ncnn": "#009E73",
    "numpy": "#999999",
}
LABELS = {
    "torch": "PyTorch",
    "torch_cl": "PyTorch, channels last",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "ncnn": "ncnn",
    "numpy": "NumPy",
}


def draw(results: list[Result], path: Path) -> None:
    """Draw a panel per result: time over Rushlight's, logarithmic; right of 1 is slower."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import FixedLocator, FuncFormatter
    except ImportError as error:
        raise SystemExit("--plot needs matplotlib: pip install matplotlib") from error

    bars = max(len(_peers(result)) for result in results)
    groups = max(len(result.rows) for result in results) + 1
    height = 1.6 + groups * (0.11 * bars + 0.16)
    figure = Figure(figsize=(6.2 * len(results) + 1.6, height), layout="constrained")
    panels = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
    for panel, result in zip(panels, results, strict=True):
        _panel(panel, result, bars)
        panel.xaxis.set_major_locator(FixedLocator([0.25, 0.5, 1, 2, 4, 8, 16, 32, 64]))
        panel.xaxis.set_minor_locator(FixedLocator([]))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}x"))
        panel.tick_params(axis="x", labeltop=True)
    machine = describe(results[0].libraries)
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())  # type: ignore[attr-defined]
    figure.supxlabel(
        f"time / Rushlight's time (right of 1: slower than Rushlight)\n{machine['processor']},"
        f" {machine['cpus']} CPUs, {machine['instructions']}; {versions}",
        fontsize=9,
    )
    handles, labels = panels[0].get_legend_handles_labels()
    # The title is the legend's: two of the figure's own would lie over each other.
    legend = figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=min(len(labels), 3 * len(results)),
        frameon=False,
        title=results[0].question.about,
    )
    legend.get_title().set(fontsize=13, fontweight="bold")
    figure.savefig(path, dpi=130)


def _peers(result: Result) -> list[str]:
    return [name for name in result.libraries if name in COLOURS and name != OURS]


def _panel(panel: Any, result: Result, bars: int) -> None:
    names = [row.name for row in result.rows] + ["geometric mean"]
    thick = 0.82 / bars
    for index, peer in enumerate(_peers(result)):
        ratios = [ratio_to(row, peer) for row in result.rows]
        known = [ratio for ratio in ratios if ratio is not None]
        if not known:
            continue
        drawn = [*ratios, geometric_mean(known)]
        places = [y + (index - (bars - 1) / 2) * thick for y, r in enumerate(drawn) if r]
        values = [ratio for ratio in drawn if ratio]
        panel.barh(
            places,
            [value - 1 for value in values],
            left=1,
            height=thick,
            color=COLOURS[peer],
            label=LABELS[peer],
        )
    panel.set_xscale("log", base=2)
    panel.axvline(1, color="black", linewidth=1)
    panel.axhspan(len(names) - 1.5, len(names) - 0.5, color="#eeeeee", zorder=0)
    panel.set_yticks(range(len(names)), names, fontsize=9)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.grid(axis="x", color="#cccccc", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.set_title(f"{result.threads} thread{'s' if result.threads > 1 else ''}", fontsize=11)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
    panel.tick_params(axis="y", length=0)
