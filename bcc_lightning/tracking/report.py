"""``report.html``: a run on one page, for people; pictures are inside, so that the file can be sent on."""

from base64 import b64encode
from pathlib import Path

from bcc_lightning.pages import page_template
from bcc_lightning.tracking.folder import RunFolder
from bcc_lightning.tracking.summary import Summary
from bcc_lightning.whole_file import whole_file

MOST_FREQUENT = "/most_frequent"

PICTURES = (
    (
        "Where the network looked",
        "explain/gradcam.png",
        "Several cells of each class, none of them trained on; a mistake comes first and is written in red. Warm colours mark "
        "what speaks most for the predicted class: for each branch of the network and for both combined. Saliency shows which "
        "single pixels the answer hangs on. Warm colours beside the cell are a reason to ask whether the network uses the "
        "background.",
    ),
    (
        "Which cells are mistaken for which",
        "figures/confusion_matrix{part}.png",
        "Each row holds the cells of one true class, each column what they were taken for. The diagonal is right.",
    ),
    (
        "The ensemble beside its members",
        "figures/members.png",
        "Test accuracy with 95 % intervals. All were tested on the same cells, so overlapping intervals do not mean that "
        "there is no difference.",
    ),
    (
        "Each fold",
        "figures/folds.png",
        "Accuracy of each fold with its 95 % interval; the dashed line is the mean.",
    ),
    (
        "How training went",
        "figures/curves.png",
        "Training and validation by epoch. The ring marks the epoch whose weights were kept; the test set was not used.",
    ),
    (
        "How many cells each class has",
        "figures/class_counts.png",
        "Rare classes have wide uncertainty; read their recall with care.",
    ),
    ("What the cells look like", "figures/samples.png", "The first training cells of each class, as stored."),
)


def write_report(folder: RunFolder, summary: Summary) -> None:
    """Write the report from what the run's folder holds; pictures that do not exist are left out.

    Args:
        folder: the run's folder.
        summary: its figures.
    """
    part = "" if summary.tested_on == "test" else f"_{summary.tested_on}"
    shown = [(title, folder.artifacts / name.format(part=part), text) for title, name, text in PICTURES]
    pictures = [(title, data_uri(file), text) for title, file, text in shown if file.is_file()]
    config = folder.config.read_text(encoding="utf-8") if folder.config.is_file() else ""
    page = page_template("bcc_lightning.tracking", "report.html.jinja").render(
        summary=summary, rows=metric_rows(summary), pictures=pictures, config=config
    )
    with whole_file(folder.report) as draft:
        draft.write_text(page, encoding="utf-8")


def metric_rows(summary: Summary) -> list[tuple[str, str, str]]:
    """Lay out the metrics of the chosen weights: name, value, 95 % interval; recall of single classes last."""
    names = [name for name in summary.metrics if name.replace(MOST_FREQUENT, "/accuracy") in summary.intervals]
    rows = []
    for name in sorted(names, key=place_of):
        interval = "{:.4f} to {:.4f}".format(*summary.intervals[name]) if name in summary.intervals else ""
        short = name.removeprefix("test/").removeprefix(f"test_on/{summary.tested_on}/")
        rows.append((short, f"{summary.metrics[name]:.4f}", interval))
    return rows


def place_of(metric: str) -> tuple[bool, bool, bool, bool, str]:
    """Order metrics: the test set before further sets, accuracy first and the most frequent class beside it, recalls last."""
    last = metric.rpartition("/")[2]
    further = metric.split("/")[1] if metric.startswith("test_on/") else ""
    return bool(further), "/recall/" in metric, last != "accuracy", not metric.endswith(MOST_FREQUENT), metric


def data_uri(picture: Path) -> str:
    """Put a PNG file into a URI."""
    return f"data:image/png;base64,{b64encode(picture.read_bytes()).decode()}"
