"""The parts of Optuna that are not its public interface, each with the reason why it is needed; no other module uses any.

Optuna creates, samples and runs a trial within one process. Here a trial is created by one process, sampled and reported by
another, and may be ended by a third, which knows only its number. The public `Study.ask` creates a trial without attributes, so
that a worker killed right after it would leave a running trial that names no worker. ``tests/tuning/test_optuna_private.py``
fails where a release of Optuna changes any of this.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from optuna.storages.journal._file import BaseJournalFileLock

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

FIXED = "fixed_params"
"""System attribute in which `Study.enqueue_trial` stores the given parameters of a trial, and from which `Trial` takes them."""


class JournalLock(BaseJournalFileLock):
    """A lock for a journal file that the operating system releases when its holder dies.

    Optuna's own locks are files, which a killed process leaves behind, and which others remove after 30 seconds. The base class
    is the type that `JournalFileBackend` takes; Optuna does not export it.

    Args:
        file: path of the journal file.
        seconds: how long to wait for the lock.
    """

    def __init__(self, file: str, seconds: float) -> None:
        self._lock = FileLock(f"{file}.lock", timeout=seconds, thread_local=False, is_singleton=False)

    def acquire(self) -> bool:
        """Wait for the lock and take it.

        Returns:
            True.

        Raises:
            filelock.Timeout: another process holds the lock for longer than `seconds`.
        """
        self._lock.acquire()
        return True

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()


def read_trial(study: "Study", number: int) -> "FrozenTrial":
    """Read one trial as it is now; the public `Study.get_trials` reads all trials.

    Args:
        study: the study in its storage.
        number: number of the trial.
    """
    return study._storage.get_trial(trial_id(study, number))


def open_trial(study: "Study", number: int) -> "Trial":
    """Open a running trial, to draw its parameters with the study's sampler and to report its values.

    The public `Study.ask` opens only a trial that it has created itself, in the same process.

    Args:
        study: the study in its storage, with the sampler of this trial.
        number: number of the trial.
    """
    from optuna import Trial

    return Trial(study, trial_id(study, number))


def create_running_trial(study: "Study", attributes: Mapping[str, Any], given: Mapping[str, Any]) -> int:
    """Create a running trial together with its attributes, in one step.

    The public `Study.add_trial` makes the same call, but does not return the number of the new trial.

    Args:
        study: the study in its storage.
        attributes: the trial's user attributes.
        given: parameters that are not drawn, by name.

    Returns:
        Number of the trial.
    """
    from optuna.trial import TrialState, create_trial

    template = create_trial(
        state=TrialState.RUNNING, user_attrs=dict(attributes), system_attrs={FIXED: dict(given)} if given else {}
    )
    return study._storage.get_trial_number_from_id(study._storage.create_new_trial(study._study_id, template))


def start_waiting_trial(study: "Study", trial: "FrozenTrial", attributes: Mapping[str, Any]) -> None:
    """Set the attributes of a trial that waits (see `Study.enqueue_trial`), and then its state to running.

    The public `Study.ask` chooses the waiting trial itself, and sets its state before anybody can set an attribute.

    Args:
        study: the study in its storage.
        trial: the waiting trial.
        attributes: user attributes to set.
    """
    from optuna.trial import TrialState

    set_attributes(study, trial, attributes)
    study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)


def set_attributes(study: "Study", trial: "FrozenTrial", attributes: Mapping[str, Any]) -> None:
    """Set user attributes of a trial that another process may have created; the public `Trial.set_user_attr` needs `open_trial`.

    Args:
        study: the study in its storage.
        trial: the trial.
        attributes: values by name, as JSON takes them.

    Raises:
        optuna.exceptions.UpdateFinishedTrialError: the trial has ended.
    """
    for name, value in attributes.items():
        study._storage.set_trial_user_attr(trial._trial_id, name, value)


def given_parameters(trial: "FrozenTrial") -> dict[str, Any]:
    """Return the parameters that were given to a trial instead of drawn, by name.

    Args:
        trial: the trial.
    """
    return dict(trial.system_attrs.get(FIXED, {}))


def trial_id(study: "Study", number: int) -> int:
    """Return the storage's own key of a trial, which `Study` shows nowhere.

    Args:
        study: the study in its storage.
        number: number of the trial.
    """
    return study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
