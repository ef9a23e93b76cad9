"""CLAIM 2024, the checklist for artificial intelligence in medical imaging, answered from what a run has recorded.

Source: Tejani et al., Radiology: Artificial Intelligence 6 (2024) e240300, doi 10.1148/ryai.240300: 44 items. What a run cannot
know, such as who labelled the cells, is left to a person, and each such item says what has to be added.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bcc_lightning.evaluation.reliability import RESAMPLES
from bcc_lightning.pages.numbers import number, percent
from bcc_lightning.tracking.description import SETS, Description, EvaluatedSet, merit, text

TITLES: dict[str, tuple[str, ...]] = {
    "Title and abstract": ("Kind of study and of technology", "Summary"),
    "Introduction": ("Background, intended use and role", "Aims and hypotheses"),
    "Study design": ("Prospective or retrospective", "Study goal"),
    "Data": (
        *("Data sources", "Inclusion and exclusion criteria", "Preprocessing", "Selection of subsets"),
        *("De-identification", "Missing data", "Image acquisition protocol"),
    ),
    "Reference standard": (
        *("Method of the reference standard", "Why it was chosen", "Source of the annotations"),
        *("Annotation of the test set", "Variability between and within raters"),
    ),
    "Data partitions": ("Assignment to partitions", "Level at which partitions are disjoint"),
    "Testing data": ("Intended sample size",),
    "Model": ("Description of the model", "Software", "Initialisation of the parameters"),
    "Training": ("Training approach", "Selection of the final model", "Ensembling"),
    "Evaluation": (
        *("Metrics", "Significance and uncertainty", "Robustness or sensitivity", "Explainability"),
        *("Evaluation on internal data", "Testing on external data", "Registration of a clinical trial"),
    ),
    "Results: data": ("Patients or examinations included and excluded", "Demographic and clinical characteristics"),
    "Results: performance": ("Performance and uncertainty", "Diagnostic performance by class", "Failure analysis"),
    "Discussion": ("Limitations", "Implications for practice"),
    "Other information": ("Protocol and technical details", "Availability of software, model and data", "Funding"),
}
"""Sections and items of CLAIM 2024 in their order, in short; they are numbered from 1 to 44."""

TO_ADD: dict[int, str] = {
    3: "the clinical question, what is already known, and at which step of smear examination the network is to be used",
    4: "the aims of the study, and the hypotheses if any are tested",
    8: "how patients and smears were chosen, and which were excluded",
    11: "how names, numbers and dates were removed from images and files, and who checked it",
    13: "microscope, objective, camera, stain and preparation of the smears, and how single cells were cut out",
    14: "how the class of a cell was decided: by whom, on what evidence, and by which definition of each class",
    15: "why that method was chosen, and what the alternatives are",
    16: "who labelled the cells, with what training and experience, and with which tool",
    17: "whether the test set was labelled in the same way, and whether labellers saw a network's answers",
    18: "how often two examiners, and one examiner on two occasions, gave a cell the same class",
    30: "figures for images with faults: `python -m bcc_lightning.evaluate --run {run} --robustness true --out DIR`",
    33: "a set from another laboratory: `--data.test_on` of `fit`, or of `python -m bcc_lightning.evaluate --run {run}`",
    34: "the trial registration number, or a statement that there is none",
    35: "the number of patients and smears, included and excluded",
    36: "age, sex and diagnoses of the patients behind each set",
    44: "who funded the study, and what role they had in it",
}
"""What a person has to add to the items that a run cannot answer, or not alone."""

NOT_RECORDED = "what this run has not recorded"


@dataclass(frozen=True)
class Item:
    """An item of the checklist.

    Attributes:
        number: from 1 to 44.
        section: of the checklist.
        title: of the item, in short.
        facts: what the run has recorded; empty if nothing.
        to_add: what a person has to add; empty if the facts answer the item.
    """

    number: int
    section: str
    title: str
    facts: str
    to_add: str

    @property
    def is_filled(self) -> bool:
        """Whether the facts answer the item alone."""
        return not self.to_add


def items(run: Description) -> list[Item]:
    """Answer the checklist from a finished run."""
    facts = {**from_data(run), **from_training(run), **from_results(run)}
    answered = {number for number, found in facts.items() if found} - alone_insufficient(run)
    titles = [(section, title) for section, of_section in TITLES.items() for title in of_section]
    return [
        Item(number, section, title, facts.get(number, ""), "" if number in answered else to_add(number, run))
        for number, (section, title) in enumerate(titles, start=1)
    ]


def filled(found: Sequence[Item]) -> int:
    """Count the items that the facts answer."""
    return sum(one.is_filled for one in found)


def to_add(number: int, run: Description) -> str:
    """Return what a person has to add to an item."""
    return TO_ADD.get(number, NOT_RECORDED).format(run=run.summary.run_id)


def alone_insufficient(run: Description) -> set[int]:
    """Return items whose facts need a person's addition: cells are known, patients and smears are not."""
    return {8, 13, 14, 17, 34, 36} | (set() if run.is_painted else {35})


def from_data(run: Description) -> dict[int, str]:
    """Answer the items on data and their division."""
    summary, data, setting = run.summary, run.summary.data, run.setting
    if "data.name" not in data:
        return {}
    sizes = ", ".join(f"{SETS.get(key, key)} {sum(cells):,}" for key, cells in summary.cells.items())
    left_out = " ".join(summary.notices) or "No image was left out."
    root, crop, few = setting("data", "root"), setting("data", "crop"), data.get("data.few_shot")
    origin = f"{data['data.name']}{f', folder {Path(root).name}' if root else ''}; hash {data.get('data.sha256', '')}"
    further = "".join(f"; further test set {one.name}, {one.cells:,} cells" for one in run.further)
    found = {
        5: "Retrospective: images and labels existed before the training.",
        7: f"{origin}{further}.",
        8: f"All images that were found. {left_out}",
        9: f"{f'Central {crop} pixels cut out; ' if crop else ''}{data.get('data.resolution')} pixels; scaled for the network.",
        10: f"{few} drawn from the training set." if few else "Whole images of single cells; nothing else was selected.",
        12: "Unreadable files stop the program, and cells without a label are not part of the data, so nothing is missing.",
        14: "The labels are those of the data set, used unchanged.",
        19: f"{division(run)} {sizes}",
        20: levels(run),
        35: f"Cells: {sizes}; left out: {left_out}",
        36: f"Classes of the cells: {', '.join(summary.classes)}; their numbers in each set are in report.html.",
    }
    return {**found, 5: "Neither: the cells are painted by a program."} if run.is_painted else found


def division(run: Description) -> str:
    """Describe how cells were assigned to the sets."""
    if run.summary.folds:
        return f"{len(run.summary.folds)} folds, seed {run.setting('data', 'split_seed')}; sets of the first:"
    if file := run.setting("data", "split_file"):
        return f"As in the file {Path(file).name}:"
    shares = f"{run.setting('data', 'val_share')} for validation and {run.setting('data', 'test_share')} for testing"
    return f"The data set's own division; where it has none, by class, shares {shares}, seed {run.setting('data', 'split_seed')}:"


def levels(run: Description) -> str:
    """Describe at which level the sets are disjoint."""
    if run.summary.grouped:
        return "Groups, such as patients, smears or slides: all cells of a group are in the same set."
    if run.summary.grouped is None:
        return ""
    copies = " Of byte-identical images only one is used." if run.setting("data", "copies") == "drop" else ""
    return f"Images: the data contain no groups.{copies}"


def from_training(run: Description) -> dict[int, str]:
    """Answer the items on network and training."""
    summary, device = run.summary, run.summary.provenance.get("device", "unknown")
    software = [f"{name[8:]} {version}" for name, version in summary.provenance.items() if name.startswith("version.")]
    origins = [f"{part}: {text(origin)}" for part, origin in summary.weights.items()]
    pixels, classes = summary.data.get("data.resolution", ""), len(summary.classes)
    described = f"{run.network}. Input: an RGB image, {pixels} pixels; output: a probability for each of {classes} classes."
    training, chosen, together = run.recipe, run.selection, "One network; no ensemble."
    if summary.members:
        training = "Trained networks are weighted; nothing is trained."
        chosen = "equal weights of the members, or weights fitted on the validation set"
        shares = ", ".join(f"{float(one['weight']):.3f} x {one['title']}" for one in summary.members)
        together = f"Weighted mean of the probabilities of {shares}."
    elif summary.folds:
        together = f"Used together, the networks of the {len(summary.folds)} folds vote."
    views = f" Probabilities are averaged over views of a cell: {summary.test_time}." if summary.test_time else ""
    return {
        22: f"{described} All arguments: config.yaml." if run.config else "",
        23: ", ".join(software),
        24: "; ".join(origins) or ("Those of the members." if summary.members else ""),
        25: f"{training.rstrip('.')}. Device: {device}." if training else "",
        26: f"Weights kept: {chosen}." if chosen else "",
        27: f"{together}{views}",
    }


def from_results(run: Description) -> dict[int, str]:
    """Answer the items on evaluation, results and their meaning."""
    summary, own = run.summary, run.own
    if own is None:
        return {}
    result, folds = result_of(run, own), summary.folds
    recalls = "; ".join(
        f"{name}: recall {number(one.recall, one.intervals.get('recall'))}, precision "
        f"{number(one.precision, one.intervals.get('precision'))}, {one.cells:,} cells"
        for name, one in own.classes.items()
        if one.recall is not None
    )
    mistakes = ", ".join(f"{count:,} {true} taken for {taken}" for count, true, taken in own.mistakes) or "none"
    interval = own.intervals.get("accuracy")
    half = f"; the half-width of the accuracy interval is {(interval[1] - interval[0]) / 2:.3f}" if interval else ""
    spread = (
        f"Standard deviation of the accuracy over {len(folds)} folds: {summary.metrics['test/accuracy_sd']:.3f}." if folds else ""
    )
    maps = "in the report of each fold" if folds else "in explain/gradcam.png"
    commit = summary.provenance.get("mlflow.source.git.commit", "not recorded")
    network = summary.checkpoint or "the checkpoints of the folds"
    elsewhere = [f"{one.name}, {one.cells:,} cells: accuracy {one.accuracy}" for one in run.further]
    if run.left_out:
        elsewhere.insert(0, f"The test set is from {run.left_out}, a laboratory not used for training: accuracy {own.accuracy}")
    return {
        1: f"Classification of images of blood cells by deep learning ({run.network}).",
        2: f"{summary.data.get('data.name', '')}: {result}",
        6: "To train a blood cell classifier, and to evaluate it on cells that it was not trained on.",
        21: f"{own.cells:,} cells, the number that the split of the data gave{half}." if own.cells else "",
        28: "Accuracy, compared with always answering the most frequent class; precision, recall and F1 by class, macro and "
        "weighted; AUROC; expected calibration error.",
        29: f"95 % intervals: Wilson's for shares of cells, percentile bootstrap ({RESAMPLES:,} draws of cells) for the others."
        if not folds
        else "Standard deviation over the folds.",
        30: spread,
        31: f"Class activation maps of test cells and vanilla-gradient saliency, {maps}.",
        32: result,
        33: "; ".join(elsewhere),
        37: result,
        38: f"{recalls}. Intervals: see the table by class." if recalls else "",
        39: f"Most frequent mistakes: {mistakes}. Confusion matrix and surest mistakes: report.html." if own.cells else "",
        40: " ".join(run.limits),
        41: run.purpose,
        42: f"config.yaml, split.csv and summary.json of run {summary.run_id}; commit {commit}.",
        43: f"Software: bcc_lightning, MIT licence. Network: {network}, among the files of the run. Data: not part of the run.",
    }


def result_of(run: Description, own: EvaluatedSet) -> str:
    """Describe the result on the own test set."""
    if folds := run.summary.folds:
        deviation = percent(run.summary.metrics["test/accuracy_sd"])
        return f"accuracy {own.accuracy}, standard deviation over {len(folds)} folds {deviation}."
    named = (("f1_macro", "macro F1"), ("auroc_macro", "AUROC"))
    merits = "".join(f", {title} {merit(own, name)}" for name, title in named if name in own.metrics)
    return f"accuracy {own.accuracy} on {own.cells:,} cells, evaluated once{merits}."
