"""The figures of a search, drawn by Optuna in the look of all our figures."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tuning.progress import Counts, best_trials
from bcc_lightning.tuning.study import OpenStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna.trial import FrozenTrial

TITLES = {
    "course": "Every trial, epoch by epoch or fold by fold",
    "history": "The trials in their order, and the best so far",
    "importance": "Which parameters matter",
    "parallel_coordinates": "The parameters of each trial",
    "pareto_front": "The best compromises between two metrics",
}
"""Figures, and what a page calls them; of several metrics each has its own, whose name begins so."""


def draw_figures(search: OpenStudy, run: TrackedRun) -> list[Path]:
    """Draw history, importance and parallel coordinates of each metric, and the course of all trials or the front of two metrics.

    Returns:
        The files; a figure for which there are too few trials is left out.
    """
    from optuna.importance import FanovaImportanceEvaluator
    from optuna.visualization import matplotlib as plots

    plan, study = search.plan, search.study
    complete = Counts.of(search.trials(), plan.trials).complete
    several = len(plan.metrics) > 1
    # Optuna's default evaluator uses only the best tenth of the trials: two of twenty.
    evaluator = FanovaImportanceEvaluator(seed=plan.seed)
    common = common_parameters(search.trials())
    importance = partial(plots.plot_param_importances, evaluator=evaluator, params=common)
    wanted: dict[str, tuple[Callable[[], Any], str]] = {}
    for place, metric in enumerate(plan.metrics):
        of: dict[str, Any] = {"target": partial(value_of, place=place) if several else None, "target_name": metric}
        for name, draw, title in (
            ("history", plots.plot_optimization_history, f"{metric} of the {complete} complete trials"),
            ("parallel_coordinates", plots.plot_parallel_coordinate, f"parameters of the {complete} complete trials"),
            ("importance", importance, f"what {metric} depends on, judged by {complete} complete trials"),
        ):
            if common or name != "importance":
                wanted[f"{name}_{metric.replace('/', '_')}" if several else name] = partial(draw, study, **of), title
    if several:
        title = "best compromises: no other trial is better in both"
        wanted["pareto_front"] = partial(draw_front, search), title
    else:
        unit = "fold" if plan.folds else "epoch"
        title = f"{plan.metrics[0]} after each {unit}, pruned trials included"
        wanted["course"] = partial(plots.plot_intermediate_values, study), title
    files = {name: run.folder.figure(name) for name in wanted}
    return [files[name] for name, (draw, title) in wanted.items() if save(draw, title, files[name])]


def draw_front(search: OpenStudy) -> None:
    """Draw all trials by two metrics, and label the best compromises with their numbers."""
    from optuna.visualization import matplotlib as plots

    axes = plots.plot_pareto_front(search.study, target_names=list(search.plan.metrics))
    for trial in best_trials(search.study):
        axes.annotate(f"trial {trial.number}", trial.values, xytext=(6, 6), textcoords="offset points")


def common_parameters(trials: "list[FrozenTrial]") -> list[str]:
    """List the parameters that all complete trials have.

    The importance of a parameter that only some trials have would rest on few trials, and be far too high.
    """
    from optuna.trial import TrialState

    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return [name for name in complete[0].params if all(name in trial.params for trial in complete)]


def value_of(trial: "FrozenTrial", place: int) -> float:
    """Return the value of a trial's metric at this place."""
    return float(trial.values[place])


def save(draw: Callable[[], Any], title: str, file: Path) -> bool:
    """Draw a figure and save it.

    Args:
        draw: draws the figure with matplotlib.
        title: title of the figure.
        file: file of the figure.

    Returns:
        False where Optuna finds too little to draw, for which it has no error type of its own.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), our_style():
        warnings.simplefilter("ignore")  # Optuna's figures are marked as experimental
        try:
            draw()
        except (ValueError, RuntimeError) as error:
            print(f"no figure {file.stem}: {error}")
            plt.close("all")
            return False
        figure: Figure = plt.gcf()
        figure.axes[0].set_title("", loc="left")  # one of Optuna's figures has its title there
        figure.axes[0].set_title(title)
        for axes in figure.axes[1:]:
            axes.grid(visible=False)  # grid lines of one axis would cross those of the others
        recolour(figure)
        figure.set_size_inches(max(11, 1.6 * len(figure.axes)), 6)
        figure.savefig(file, dpi=110, bbox_inches="tight")
        plt.close("all")
    return True


@contextmanager
def our_style() -> Iterator[None]:
    """Let Optuna, which asks matplotlib for the style ``ggplot``, draw in ours."""
    from matplotlib import RcParams, rc_context, style

    from bcc_lightning.evaluation.figures import STYLE

    ggplot = style.library["ggplot"]
    style.library["ggplot"] = RcParams({**STYLE, "axes.grid": True})
    try:
        with rc_context(STYLE):
            yield
    finally:
        style.library["ggplot"] = ggplot


def recolour(figure: "Figure") -> None:
    """Replace the two colours that Optuna itself chooses, blue and red, by ours."""
    from matplotlib import colormaps
    from matplotlib.collections import PathCollection
    from matplotlib.colors import to_hex
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    from bcc_lightning.evaluation.figures import TRAIN, VAL

    ours = {to_hex(colormaps["tab10"](0)): TRAIN, to_hex(colormaps["tab10"](3)): VAL, to_hex(colormaps["tab20c"](0)): TRAIN}
    colour: Any
    for line in figure.findobj(Line2D):
        colour = line.get_color()
        line.set_color(ours.get(to_hex(colour), colour))
    for bar in figure.findobj(Rectangle):
        colour = bar.get_facecolor()
        bar.set_facecolor(ours.get(to_hex(colour), colour))
    for points in figure.findobj(PathCollection):
        colours: Any = points.get_facecolor()
        if len(colours) and to_hex(colours[0]) in ours:
            points.set_color(ours[to_hex(colours[0])])
