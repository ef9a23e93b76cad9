"""Tells a search how a trial comes along, and stops it when the search has seen enough."""

from lightning import Callback, LightningModule, Trainer

from bcc_lightning.datamodules.cell_images import CellBatch
from bcc_lightning.errors import UserError
from bcc_lightning.tuning.channel import TrialChannel


class TrialReport(Callback):
    """Reports the search's metric after each validation.

    Args:
        trial: channel to the search.
    """

    def __init__(self, trial: TrialChannel) -> None:
        self.trial = trial

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: CellBatch, batch_idx: int) -> None:
        """Say when training begins: what comes before is what each trial costs beside its training."""
        self.trial.trains()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and let training stop after this epoch, so that its weights and metrics are filed.

        Raises:
            UserError: validation gives no such metric.
        """
        metric = self.trial.greeting.metric
        if metric not in trainer.callback_metrics:
            known = sorted(name for name in trainer.callback_metrics if name.startswith("val/"))
            raise UserError(f"--metric '{metric}' is no metric of the validation part; there are: {', '.join(known)}")
        self.trial.report(trainer.current_epoch, float(trainer.callback_metrics[metric]))
        if self.trial.pruned_at is not None:
            trainer.should_stop = True
