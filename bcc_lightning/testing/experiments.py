"""What every experiment promises: one command trains, tests, explains and files it."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from bcc_lightning.datasets.classes import EIGHT_CELL_CLASSES
from bcc_lightning.fit import main
from bcc_lightning.modules.checkpoint import load_classifier
from bcc_lightning.trust import OPTION, trusting

PAINTED = ("--data", "SyntheticSmear", "--data.train_cells", "48", "--data.val_cells", "8", "--data.test_cells", "8")
"""Flags that put any experiment on a few painted cells."""

SHORT = (
    *("--model.pretrained", "false", "--data.batch_size", "16", "--trainer.enable_progress_bar", "false"),
    *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"),
)
"""Flags that make any experiment short."""


class ExperimentTests:
    """Tests that every experiment passes; fill in `experiment`.

    Example:
        ```python
        class TestMyExperiment(ExperimentTests):
            experiment = "my_experiment.yaml"
            trust = ("mypkg",)
        ```

    Attributes:
        experiment: name or file of the experiment.
        trust: packages whose classes it names.
        image_size: side S in pixels that the network sees, at least its smallest.
        data: flags that choose the data; by default painted cells instead of the experiment's own data, which may be large.
        class_names: names of the classes of these data, in label order.
        flags: further flags, which win over all others.
    """

    experiment: str
    trust: Sequence[str] = ()
    image_size: int = 32
    data: Sequence[str] = PAINTED
    class_names: Sequence[str] = EIGHT_CELL_CLASSES
    flags: Sequence[str] = ()

    def test_it_runs_from_end_to_end(self, tmp_path: Path) -> None:
        """It trains for an epoch, is tested and explained, and its checkpoint classifies again."""
        named = ["--exp", self.experiment, *(part for package in self.trust for part in (OPTION, package))]
        places = ["--tracking.folder", str(tmp_path / "mlruns"), "--summary", str(tmp_path / "out.json")]
        size = ["--data.image_size", str(self.image_size)]
        code = main([*named, *self.data, *SHORT, *size, *self.flags, *places])
        assert code == 0, f"the experiment must end with the exit code 0, it ended with {code}; its error is printed above"
        summary = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
        name = Path(self.experiment).stem if self.experiment.endswith((".yaml", ".yml")) else self.experiment
        assert summary["experiment"] == name, f"the run must bear the name {name}, it is {summary['experiment']}"
        assert "test/accuracy" in summary["metrics"], "the run must have been tested"
        checkpoint = Path(summary["checkpoint"])
        sheet = checkpoint.parents[1] / "explain" / "gradcam.png"
        assert sheet.is_file(), "the run must hold explain/gradcam.png"
        with trusting(self.trust):
            module = load_classifier(checkpoint)
        logits = module(torch.randint(0, 256, (2, 3, self.image_size, self.image_size), dtype=torch.uint8))
        expected = (2, len(self.class_names))
        assert tuple(logits.shape) == expected, f"the checkpoint must give logits {expected}, it gives {tuple(logits.shape)}"
