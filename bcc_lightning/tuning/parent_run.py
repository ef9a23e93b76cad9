"""The MLflow run of a study; the runs of its trials are its children."""

from contextlib import suppress
from typing import TYPE_CHECKING

import yaml
from mlflow.exceptions import MlflowException
from requests import RequestException

from bcc_lightning.files import whole_file
from bcc_lightning.tracking.claim import Claim
from bcc_lightning.tracking.dead_runs import DETACHED, PROCESS
from bcc_lightning.tracking.filing import end_failed
from bcc_lightning.tracking.run import TrackedRun
from bcc_lightning.tracking.run_files import RunFolder
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tuning.study import ENDING, PARENT_RUN, REASON, RUN, OpenStudy
from bcc_lightning.tuning.trial import STATE

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

EXPERIMENT = "tune/{}"
"""Tag ``experiment`` of a study's run, so that it is not mistaken for a run of the experiment itself."""


def open_parent_run(tracking: Tracking, search: OpenStudy) -> TrackedRun:
    """Create the run of a study, or reopen it; drivers that start at the same moment share one run.

    Raises:
        UserError: the tracking store cannot be reached.
    """
    with search.storage.lock():
        if known := search.parent_run:
            folder = RunFolder(tracking.work / known)
            folder.create()
            return TrackedRun.reopen(tracking, known, Claim(folder, shared=True))
        plan = search.plan
        tags = {"experiment": EXPERIMENT.format(plan.experiment), "study": plan.study}
        run = TrackedRun.create(tracking, plan.study, tags, shared=True)
        search.study.set_user_attr(PARENT_RUN, run.run_id)
    space = {f"space.{name}": text for name, text in plan.search_space.describe().items()}
    try:
        run.log_params(
            {"metric": ",".join(plan.metrics), "direction": ",".join(plan.directions), "argv": " ".join(plan.argv), **space}
        )
        with whole_file(run.folder.artifacts / "space.yaml") as draft:
            draft.write_text(yaml.safe_dump(plan.space, sort_keys=False), encoding="utf-8")
    except BaseException as error:
        end_failed(run, error)
        raise
    return run


def leave_parent_run(run: TrackedRun) -> None:
    """Leave a study's run open when this process exits, and tag it so that it is not taken for the run of a dead process."""
    run.set_tags({PROCESS: DETACHED})


class ChildTags:
    """Tags the runs of trials whose processes ended without tagging them.

    Args:
        run: the study's run.
    """

    def __init__(self, run: TrackedRun) -> None:
        self.run = run
        self._tagged: set[int] = set()

    def update(self, trials: "list[FrozenTrial]") -> None:
        """Tag the runs of failed trials that are still tagged as running."""
        from optuna.trial import TrialState

        for trial in trials:
            run_id = trial.user_attrs.get(RUN)
            if trial.state != TrialState.FAIL or run_id is None or trial.number in self._tagged:
                continue
            self._tagged.add(trial.number)
            self._tag(run_id, trial.user_attrs.get(ENDING, "failed"), trial.user_attrs.get(REASON, ""))

    def _tag(self, run_id: str, ending: str, reason: str) -> None:
        client = self.run.client
        with suppress(MlflowException, RequestException):  # the study itself has recorded the failure
            if client.get_run(run_id).data.tags.get(STATE) != "running":
                return
            client.set_tag(run_id, STATE, "failed")
            client.set_tag(run_id, "failure", f"{ending}: {reason}")
            client.set_terminated(run_id, "KILLED")
