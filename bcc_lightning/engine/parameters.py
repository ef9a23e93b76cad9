"""What MLflow keeps of a configuration: what was decided as parameters, and what resuming has changed as a tag."""

from bcc_lightning.cli.decided import decided
from bcc_lightning.cli.experiment import ExperimentCLI
from bcc_lightning.files import read_json, read_mapping, write_json
from bcc_lightning.tracking.recipe import flatten
from bcc_lightning.tracking.run import TrackedRun

CHANGED = "resumed.changed"
"""Tag of a resumed run with the values that are not those at its beginning; MLflow does not change parameters."""


def record_configuration(experiment: ExperimentCLI, run: TrackedRun) -> None:
    """Write the whole configuration into a run's folder, and log what was decided.

    Args:
        experiment: the configured experiment.
        run: its run, new or resumed.
    """
    folder, config = run.folder, experiment.resolved_config()
    now = flatten(config)
    begun = read_json(folder.decided)
    if begun is None:
        before = flatten(read_mapping(folder.config, "a configuration")) if folder.config.is_file() else now
        begun = {"decided": decided(experiment.argv, list(before)), "values": before}
        write_json(folder.decided, begun)
    folder.write_config(config)
    run.log_params({name: begun["values"][name] for name in begun["decided"]})
    changed = {name: value for name, value in now.items() if begun["values"].get(name, value) != value}
    if changed or CHANGED in run.client.get_run(run.run_id).data.tags:
        run.set_tags({CHANGED: ", ".join(f"{name}={value}" for name, value in sorted(changed.items()))})
