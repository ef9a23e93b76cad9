"""The options of one call, and the experiment files that it names."""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path

from jsonargparse import ArgumentParser

from bcc_lightning.cli.command import separate
from bcc_lightning.cli.experiment_files import DEBUG, experiment_names, find_experiment
from bcc_lightning.cli.options import OptionParser
from bcc_lightning.cli.wording import plain_words
from bcc_lightning.errors import UserError
from bcc_lightning.files import read_mapping
from bcc_lightning.tracking.settings import Tracking

OWN = ("exp", "resume", "folds", "repeats", "summary")
"""Options that belong to one call, not to the experiment."""

PLACES = tuple(f"tracking.{key.name}" for key in fields(Tracking))
"""Options that say where runs are kept."""


def add_call_options(parser: ArgumentParser) -> None:
    """Declare the options of a call."""
    parser.add_argument("--exp", type=list[str], default=[], help="names or files of experiments; several stack")
    parser.add_argument("--resume", type=str | None, default=None, help="`last` or the id of a run to go on with")
    parser.add_argument("--folds", type=int | None, default=None, help="train this many folds, each with everything new")
    parser.add_argument("--repeats", type=int | None, default=None, help="how often the folds are made anew")
    parser.add_argument("--summary", type=str | None, default=None, help="copy summary.json to this file")
    parser.add_class_arguments(Tracking, "tracking")


@dataclass(frozen=True)
class Call:
    """What one call of `fit` asks for.

    Attributes:
        exp: names or files of experiments; several stack.
        resume: ``last`` or the id of a run to go on with.
        folds: number of folds of a cross-validation.
        repeats: how often its folds are made anew.
        summary: file that gets a copy of ``summary.json``.
        tracking: where runs are kept.
        flags: all other arguments, those of `tracking` included: the experiment's own.
    """

    exp: list[str] = field(default_factory=list)
    resume: str | None = None
    folds: int | None = None
    repeats: int | None = None
    summary: str | None = None
    tracking: Tracking = field(default_factory=Tracking)
    flags: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, argv: list[str]) -> "Call":
        """Read a call from its arguments.

        Raises:
            UserError: an option has a value that is not allowed, or excludes another one.
        """
        own, flags = separate(argv, OWN)
        places, _ = separate(flags, PLACES)
        last = {name: values[-1] for name, values in {**own, **places}.items() if values and name != "exp"}
        parser = OptionParser()
        add_call_options(parser)
        try:
            options = parser.parse_args([f"--exp={json.dumps(own['exp'])}", *(f"--{name}={last[name]}" for name in last)])
        except UserError as error:
            raise UserError(f"command line: {plain_words(str(error))}") from error
        call = cls(**{name: options[name] for name in OWN}, tracking=parser.instantiate(options)["tracking"], flags=flags)
        call.refuse_contradictions()
        return call

    def refuse_contradictions(self) -> None:
        """Refuse options that are out of range or exclude one another.

        Raises:
            UserError: with the option, its value and the next step.
        """
        for name, least in (("folds", 2), ("repeats", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"--{name} is {value}, it must be a whole number from {least}")
        if self.resume is not None:
            for name in ("exp", "folds", "repeats"):
                if value := getattr(self, name):
                    shown = value[-1] if name == "exp" else value
                    raise UserError(
                        f"--{name} {shown} cannot be combined with --resume: a run goes on with the configuration that it began "
                        f"with. Next step: leave --{name} out to go on, or leave --resume out to start a new run"
                    )
        elif self.repeats and not self.folds:
            raise UserError("--repeats needs --folds K")

    def refuse_no_experiment(self) -> None:
        """Refuse a call that names no experiment, or only files that change one.

        Raises:
            UserError: with the names of all.
        """
        if self.exp and all(name.startswith(f"{DEBUG}/") for name in self.exp):
            raise UserError(f"{self.exp[0]} only changes an experiment; name one before it: --exp quickstart --exp {self.exp[0]}")
        if not self.exp and not {"--config", "-c", "--help", "-h"} & set(self.flags):
            raise UserError(f"name an experiment with --exp NAME; there are: {', '.join(experiment_names())}")

    @property
    def arguments(self) -> list[str]:
        """The arguments of the configuration: experiment files come first, so that flags win wherever they stand.

        Raises:
            UserError: an experiment does not exist, or none is named.
        """
        self.refuse_no_experiment()
        files = [str(find_experiment(name)) for name in self.exp]
        for file in files:
            read_mapping(Path(file), "keys such as model, data and trainer")  # says where a fault is, which the parser does not
        configs = [part for file in files for part in ("--config", file)]
        named = [f"--exp={json.dumps(self.exp)}"] if self.exp else []
        summary = [f"--summary={self.summary}"] if self.summary else []
        return [*configs, *named, *summary, *self.flags]


def tracking_of(argv: list[str]) -> Tracking:
    """Read from the arguments where runs are kept."""
    places, _ = separate(argv, PLACES)
    return Call.read([f"--{name}={values[-1]}" for name, values in places.items() if values]).tracking
