"""From a command line to data module, module and trainer: LightningCLI with ``--exp``."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from jsonargparse import Namespace
from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger

from bcc_lightning.balancing.balance import combination_warning
from bcc_lightning.callbacks.averaging import averaging_callback
from bcc_lightning.callbacks.checkpoints import WholeFileCheckpoints
from bcc_lightning.callbacks.progress import TrainingProgress
from bcc_lightning.callbacks.stages import Stage, StagedFineTuning
from bcc_lightning.cli.arguments import OWN, add_call_options
from bcc_lightning.cli.early import pairs
from bcc_lightning.cli.needs import MAX_EPOCHS
from bcc_lightning.cli.parser import ExperimentParser
from bcc_lightning.cli.wording import plain_words
from bcc_lightning.datamodules import CellDataModule
from bcc_lightning.errors import UserError
from bcc_lightning.modules import CellClassifier
from bcc_lightning.modules.recipe import Selection
from bcc_lightning.tracking.recipe import Progress, flatten, refuse_changes
from bcc_lightning.tracking.run_files import RunFolder
from bcc_lightning.tracking.settings import Tracking
from bcc_lightning.tracking.store import without_password
from bcc_lightning.tracking.trained_networks import (
    TrainedNetwork,
    find_members,
    find_starts,
    refuse_another_split,
    refuse_disagreement,
    unknown_training,
)

TRAINER_DEFAULTS: dict[str, Any] = {
    "max_epochs": None,  # see `ExperimentCLI.parse_arguments`
    "log_every_n_steps": 50,  # a call to MLflow costs 4 ms
    "num_sanity_val_steps": 0,  # would count validation cells before the first epoch
    "enable_model_summary": False,
}

NOT_RESOLVED = {"config", "traceback", *OWN} - {"exp"}
"""Keys that belong to one call, not to the experiment."""

UNNAMED = {
    *(
        f"data.{name}"
        for name in ("root", "image_size", "cache_dir", "num_workers", "test_on", "class_map", "split_file", "wbcatt")
    ),
    *("data.folds", "data.table", "data.sets", "data.class_path", "model.class_path", "model.members"),
    *(f"trainer.{name}" for name in ("enable_progress_bar", "accelerator", "devices", "default_root_dir", "num_nodes")),
}
"""Flags that a run's name leaves out: they say where things are, or how they are shown."""

NAMED_CHANGES, LONGEST_VALUE = 4, 24
"""Flags that a run's name has at most, and characters of a value."""

NOTHING = {
    "max_epochs": "no epoch is finished",
    "max_steps": "no epoch is finished",
    "limit_train_batches": "no epoch is finished",
    "limit_val_batches": "no epoch can be chosen by validation; --selection.keep last and patience null do without",
    "limit_test_batches": "the chosen weights are not tested",
}
"""What is missing at the end of a training if an argument of the trainer is 0."""


class ExperimentCLI(LightningCLI):
    """Builds data module and module from experiment files and flags; the trainer follows when the run exists.

    Args:
        argv: arguments of the configuration, see `bcc_lightning.cli.arguments.Call`.
        resumed: folder of the run to go on with; `argv` begins with its configuration.
        progress: how far that has come.

    Raises:
        UserError: an argument is wrong, or cannot change in a run that is resumed.
    """

    datamodule: CellDataModule
    model: CellClassifier

    def __init__(self, argv: list[str], resumed: RunFolder | None = None, progress: Progress | None = None) -> None:
        self.argv = argv
        self.resumed = resumed
        self.progress = progress or Progress()
        self.members: list[TrainedNetwork] = []  # of an ensemble
        self.starts: dict[str, TrainedNetwork] = {}  # trained networks whose weights the module starts from, by its arguments
        super().__init__(
            CellClassifier,
            CellDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults=dict(TRAINER_DEFAULTS),
            parser_class=ExperimentParser,
            auto_configure_optimizers=False,
            args=argv,
            run=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is ours, and let facts flow from the data to the module."""
        add_call_options(parser)
        parser.add_argument("--traceback", action="store_true", help="show the traceback of an error")
        parser.add_class_arguments(Selection, "selection")
        help_stages = (
            "stages of fine-tuning, each {train, lr, weight_decay, epochs, patience}; patience replaces that of selection"
        )
        parser.add_argument("--stages", type=list[Stage], default=[], help=help_stages)
        parser.link_arguments("seed_everything", "data.init_args.seed")
        parser.link_arguments("data.class_names", "model.init_args.class_names", apply_on="instantiate")
        parser.link_arguments("data.image_size", "model.init_args.image_size", apply_on="instantiate")
        parser.link_arguments("data.levels", "model.init_args.levels", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:  # noqa: ANN401 - LightningCLI's signature
        """Parse, and on an error find the file that is at fault; without `max_epochs` a training lasts as long as its stages."""
        try:
            super().parse_arguments(parser, args)
        except UserError as error:
            raise UserError(f"{self._origin(args)}: {plain_words(str(error))}") from error
        if self.config["trainer"]["max_epochs"] is None:
            self.config["trainer"]["max_epochs"] = sum(stage["epochs"] for stage in self.config["stages"]) or MAX_EPOCHS

    def before_instantiate_classes(self) -> None:
        """Check the flags of a resumed run, then find trained networks.

        The configuration names them by run id, for the newest run may be another tomorrow. A run that has trained does not need
        them again: they may be gone.
        """
        if self.resumed:
            self._refuse_changes(self.resumed)
        if self.has_trained:
            return
        arguments, tracking = self.config["model"]["init_args"], Tracking(**self.config["tracking"].as_dict())
        if (named := arguments.get("members")) is not None:
            self.members = find_members(tracking, named)
            arguments["members"] = [source.name for source in self.members]
        if any(name.endswith("weights") and value for name, value in vars(arguments).items()):
            self.starts = find_starts(tracking, arguments)
        for name, source in self.starts.items():
            arguments[name] = source.name

    def instantiate_classes(self) -> None:
        """Build data module and module only.

        Raises:
            UserError: as raised by their constructors, without the parser's wrapping.
        """
        named, self.config = self.config, self._with_files()  # Lightning gives modules their hyper-parameters from `config`
        try:
            self.config_init = cast(ExperimentParser, self.parser).build(self.config)
        finally:
            self.config = named
        self.datamodule = self.config_init["data"]
        self.model = self.config_init["model"]
        if self.has_trained:  # checkpoints say the same as those of a run that was not interrupted
            self.model.hparams.update({name: self.config["model"]["init_args"][name] for name in self._starts()})
        self.stages: list[Stage] = self.config_init["stages"]
        self.model.monitor, self.model.monitor_mode = self.selection.monitor, self.selection.mode
        if self.stages and self.model.tuning.tuning != "full":
            raise UserError("stages and --model.tuning exclude one another: each stage says what it trains; leave one out")
        if self.stages and self.model.averaging.average == "swa":
            raise UserError("stages and --model.average swa exclude one another; use --model.average ema, or none")

    @property
    def has_trained(self) -> bool:
        """Whether a resumed run has a state to go on from."""
        return self.resumed is not None and self.resumed.last_checkpoint.is_file()

    @property
    def tracking(self) -> Tracking:
        """Where the run is kept."""
        tracking: Tracking = self.config_init["tracking"]
        return tracking

    @property
    def selection(self) -> Selection:
        """How the epoch is chosen whose weights are kept."""
        selection: Selection = self.config_init["selection"]
        return replace(selection, patience=None) if self.stages else selection

    @property
    def experiment_name(self) -> str:
        """Names of the stacked experiments, joined by ``+``."""
        names = (Path(name).stem if name.endswith((".yaml", ".yml")) else name for name in self.config["exp"])
        return "+".join(names) or "unnamed"

    @property
    def run_name(self) -> str:
        """Name a run so that people tell it from others: experiment, data set, size, seed, and what the call has changed."""
        data, seed = self.config["data"], self.config["seed_everything"]
        changes = {
            key.rpartition(".")[2]: value
            for key, value in pairs(self.argv)
            if key.startswith(("model.", "data.", "selection.", "trainer."))
            and key not in UNNAMED
            and len(value) <= LONGEST_VALUE
        }
        named = [f"{key}={value}" for key, value in changes.items()][:NAMED_CHANGES]
        size = f"{data['init_args']['image_size']}px"
        return " ".join([self.experiment_name, data["class_path"].rpartition(".")[2], size, f"seed{seed}", *named])

    def warning(self) -> str | None:
        """Describe what is doubtful about an ensemble's members or the chosen corrections for rare classes, if anything."""
        data = self.datamodule
        unknown = unknown_training(self.members) if self.members else None
        return unknown or combination_warning(
            data.balance,
            self.model.criterion.loss,
            str(data.augment),
            self.config["data"]["init_args"]["mixing"],
            balanced_folder=data.is_balanced_folder,
            cell_weights=data.splits["train"].weights is not None,
        )

    def refuse_networks_of_other_data(self) -> None:
        """Refuse members, and networks to start from, that were trained on other data or in another split.

        Raises:
            UserError: with the fact in which they differ.
        """
        if self.members or self.starts:
            facts, identity = self.datamodule.facts(), self.datamodule.identity()
            refuse_disagreement(self.members, facts, identity)
            refuse_another_split(self.starts.values(), facts, identity)

    def refuse_idle_training(self) -> None:
        """Refuse a training that leaves no weights, or none that are tested.

        Raises:
            UserError: with the flag to change.
        """
        trainer, selection = self.config["trainer"], self.selection
        needs_validation = selection.keep == "best" or selection.patience is not None or bool(self.stages)
        for name, consequence in NOTHING.items():
            if trainer[name] == 0 and (name != "limit_val_batches" or needs_validation):
                raise UserError(f"with --trainer.{name} {trainer[name]} {consequence}; raise it")
        if trainer["fast_dev_run"]:
            raise UserError(
                "--trainer.fast_dev_run keeps no weights that could be tested; for a short trial of everything use "
                "--trainer.max_epochs 1 --trainer.limit_train_batches 1"
            )

    def refuse_unusable_trainer(self) -> None:
        """Let Lightning check what the trainer is given, such as devices that this machine lacks, before a run is opened.

        Raises:
            UserError: with Lightning's words.
        """
        try:
            self.build_trainer([], logger=False)
        except (MisconfigurationException, ImportError, ValueError) as error:
            raise UserError(
                f"the trainer cannot be built: {error} Next step: change the flags that begin with --trainer; without "
                "--trainer.accelerator and --trainer.devices, training uses what this machine has"
            ) from error

    def build_trainer(self, callbacks: list[Callback], logger: Logger | Literal[False]) -> Trainer:
        """Build the trainer with the callbacks of a run, behind those of the configuration."""
        own = self.config_init["trainer"]
        progress = [] if own["enable_progress_bar"] is False else [TrainingProgress()]
        plugins = [*(own["plugins"] or []), WholeFileCheckpoints()]
        return self.instantiate_trainer(
            callbacks=[*(own["callbacks"] or []), *progress, *callbacks], logger=logger, plugins=plugins
        )

    def training_callbacks(self) -> list[Callback]:
        """Build the callbacks that change how a training goes: weight averaging and stages."""
        selection = self.selection
        averaging = None if self.model.averaging.average == "none" else averaging_callback(self.model.averaging)
        staged = [StagedFineTuning(self.stages, selection.monitor, selection.mode, averaging)] if self.stages else []
        return [*([averaging] if averaging else []), *staged]

    def resolved_config(self) -> dict[str, Any]:
        """Return the whole configuration, defaults included, as a plain dict that can be given back as a file."""
        return self._resolved(self.config)

    def _refuse_changes(self, resumed: RunFolder) -> None:
        """Compare the flags with the configuration of a run, which has defaults for what was added to the program since."""
        stored = flatten(self._resolved(self.parser.parse_args(["--config", str(resumed.config)])))
        best, given = resumed.checkpoints / "best.ckpt", flatten(self.resolved_config())
        refuse_changes(resumed.path.name, best, stored, given, self.progress, resumed.split)

    def _resolved(self, parsed: Namespace) -> dict[str, Any]:
        config = yaml.safe_load(self.parser.dump(parsed, skip_none=False))
        config["tracking"]["uri"] = without_password(config["tracking"]["uri"])
        return {key: value for key, value in config.items() if key not in NOT_RESOLVED}

    def _with_files(self) -> Namespace:
        """Return the configuration with files in place of the trained networks that it names."""
        config: Namespace = self.config.clone()
        arguments = config["model"]["init_args"]
        if self.members:
            arguments["members"] = [str(source.checkpoint) for source in self.members]
        for name, source in self.starts.items():
            arguments[name] = str(source.checkpoint)
        if self.has_trained:
            for name in self._starts():
                arguments[name] = False if name == "pretrained" else None
        return config

    def weight_origins(self) -> dict[str, str]:
        """Return the origin of the initial weights, see `CellClassifier.weight_origins`; of a run's weights with its title."""
        titles = {name.removesuffix("weights").strip("_") or "network": source.title for name, source in self.starts.items()}
        origins = self.model.weight_origins()
        return {part: f"{titles[part]}: {origin}" if part in titles else origin for part, origin in origins.items()}

    def _starts(self) -> list[str]:
        """List the module's arguments that say where its weights start from."""
        return [name for name in vars(self.config["model"]["init_args"]) if name == "pretrained" or name.endswith("weights")]

    def _origin(self, args: list[str]) -> str:
        """Return the source of an error: the first file with which parsing fails, else the command line."""
        files = [value for option, value in pairwise(args) if option == "--config"]
        for last, file in enumerate(files, start=1):
            try:
                self.parser.parse_args([part for earlier in files[:last] for part in ("--config", earlier)])
            except UserError:
                return file
        return "command line"
