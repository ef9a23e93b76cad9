"""Combine finished runs into an ensemble that votes, and file it as a run of its own."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

from bcc_lightning.cli.accepted import accepted
from bcc_lightning.cli.arguments import Call
from bcc_lightning.cli.command import run_command, separate
from bcc_lightning.cli.early import refuse_misspelt
from bcc_lightning.cli.options import RUN, OptionParser
from bcc_lightning.cli.values import refusing_types
from bcc_lightning.cli.wording import refused_value
from bcc_lightning.errors import UserError
from bcc_lightning.files import refuse_unwritable_folder
from bcc_lightning.tracking.run_files import refuse_missing_checkpoint

if TYPE_CHECKING:
    from bcc_lightning.tracking.trained_networks import TrainedNetwork

OWN = ("run", "checkpoint", "weights", "out")
"""Options that are not those of `fit`."""

EXAMPLE = "--run efficientnet_b0 --run resnet18_28 --weights fitted"

CALL = "python -m bcc_lightning.ensemble"

OTHERS = "Other options are those of fit, such as --tracking.folder, --data.root and --trainer.accelerator."


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m bcc_lightning.ensemble``.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        Exit code: 0 only when the ensemble was tested, explained and filed.
    """
    return run_command(ensemble, argv)


def ensemble(argv: list[str]) -> None:
    """Test an ensemble of finished runs.

    Raises:
        UserError: something in the arguments, the runs or the data has to be mended.
    """
    if {"--help", "-h"} & set(argv):
        print(described())
        return
    own, flags = separate(argv, OWN)
    named, out = [*own["run"], *own["checkpoint"]], own["out"]
    weighting = weighting_flags(own["weights"])
    refuse_misspelt([*flags, *(["--model", "Ensemble"] if named else [])], further=OWN)
    call = Call.read([*flags, *weighting])
    if not named and not call.exp:
        raise UserError(f"name members with --run and --checkpoint, or an experiment that names them. Example: {CALL} {EXAMPLE}")
    for checkpoint in own["checkpoint"]:
        refuse_missing_checkpoint(Path(checkpoint))
    if out:
        refuse_unwritable_folder("--out", Path(out[-1]))
    # Only now what takes seconds to load.
    from bcc_lightning.engine.run import run_experiment
    from bcc_lightning.tracking.finished_runs import find_run
    from bcc_lightning.tracking.trained_networks import find_members

    with TemporaryDirectory() as folder:
        if named:
            file = write_config(find_members(call.tracking, named), Path(folder))
            call = replace(call, flags=["--config", str(file), *call.flags])
        summary = run_experiment(call)
    if out and summary:
        run = find_run(call.tracking, summary.run_id)
        copy_files(run.artifact("summary.json").parent, Path(out[-1]))


def described() -> str:
    """Describe the command and its options."""
    parser = OptionParser("ensemble", __doc__, EXAMPLE)
    parser.add_argument("--run", action="append", metavar="RUN", help=f"a member: {RUN}")
    parser.add_argument("--checkpoint", action="append", metavar="FILE", help="a member: a checkpoint file")
    weights = "equal (the mean of the members' probabilities), or fitted on the validation set"
    parser.add_argument("--weights", type=str, default="equal", metavar="NAME", help=weights)
    parser.add_argument("--out", type=str, metavar="DIR", help="folder that gets a copy of the ensemble's files")
    members = "instead of --run and --checkpoint: an experiment that names its members, such as an2dl_ensemble"
    parser.add_argument("--exp", type=str, metavar="NAME", help=members)
    return f"{parser.help_text([])}\n\n{OTHERS}"


def weighting_flags(weights: list[str]) -> list[str]:
    """Turn ``--weights`` into a key of the configuration.

    Raises:
        UserError: the value is unknown.
    """
    if not weights:
        return []
    argument = accepted()["model"].arguments("Ensemble")["weighting"]
    if types := refusing_types(argument.annotation, argument.file, weights[-1]):
        raise UserError(refused_value("--weights", types, weights[-1]))
    return ["--model.weighting", weights[-1]]


def write_config(members: "list[TrainedNetwork]", folder: Path) -> Path:
    """Write the experiment that an ensemble is: its members, and the data of the one that sees the largest images.

    Raises:
        UserError: no member belongs to a run, so that nothing tells the data.
    """
    from bcc_lightning.engine.rebuild import data_config

    configs = [member.config for member in members if member.config is not None]
    if not configs:
        raise UserError("checkpoints alone do not say which cells to test on; name at least one member with --run")
    largest: dict[str, Any] = max(configs, key=lambda config: int(data_config(config)["init_args"].get("image_size", 0)))
    model = {"class_path": "Ensemble", "init_args": {"members": [member.name for member in members]}}
    config = {"exp": ["ensemble"], "seed_everything": largest["seed_everything"], "model": model, "data": largest["data"]}
    file = folder / "ensemble.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return file


def copy_files(artifacts: Path, out: Path) -> None:
    """Copy the files of a run."""
    shutil.copytree(artifacts, out, dirs_exist_ok=True)


if __name__ == "__main__":
    sys.exit(main())
