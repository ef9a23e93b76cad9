"""The model card of a finished run: Markdown with metadata as Hugging Face reads them, made from what the run has recorded."""

from bcc_lightning.evaluation.metrics import TEST
from bcc_lightning.files import whole_file
from bcc_lightning.pages.rendering import page_template
from bcc_lightning.printable import markdown, printable
from bcc_lightning.tracking.checklist import filled, items
from bcc_lightning.tracking.description import Description
from bcc_lightning.tracking.run_files import RunFolder, Summary

TAGS = ["image-classification", "microscopy", "hematology", "blood-cells"]

FILED = ("accuracy", "recall_macro", "f1_macro", "precision_macro", "auroc_macro", "ece")
"""Metrics that the metadata hold."""


def write_model_card(folder: RunFolder, summary: Summary) -> None:
    """Write the model card; a run that is not finished, and a trial, which never sees the test set, have none.

    Args:
        folder: the run's folder.
        summary: its figures.
    """
    if summary.status != "FINISHED" or summary.tested_on != TEST:
        return
    with whole_file(folder.model_card) as draft:
        draft.write_text(model_card(Description.of(folder, summary)), encoding="utf-8")


def model_card(run: Description) -> str:
    """Return the model card of a finished run.

    The metadata name no licence and no data set of the Hugging Face hub: the owner of the network and of the data chooses these.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    summary = run.summary
    data = printable(summary.data.get("data.name", "unknown"))
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=data if one.name == TEST else printable(one.name),
            dataset_name=data if one.name == TEST else printable(one.name),
            dataset_split="test",
            metric_type=name,
            metric_value=one.metrics[name],
        )
        for one in run.sets
        for name in FILED
        if name in one.metrics
    ]
    metadata = ModelCardData(
        language="en",
        library_name="bcc_lightning",
        pipeline_tag="image-classification",
        tags=TAGS,
        metrics=["accuracy", "f1"],
        model_name=printable(summary.experiment),
        eval_results=results or None,
    )
    checklist = items(run)
    body = page_template("bcc_lightning.tracking", "model_card.md.jinja").render(
        run=run, summary=summary, checklist=checklist, filled=filled(checklist), md=one_line
    )
    return str(ModelCard(f"---\n{metadata}\n---\n{body}", ignore_metadata_errors=False)).rstrip() + "\n"


def one_line(text: object) -> str:
    """Escape a text for a cell of a table in Markdown, which is one line."""
    return " ".join(markdown(str(text)).split())
