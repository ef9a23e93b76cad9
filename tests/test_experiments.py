"""Every experiment file runs: fit, test, Grad-CAM and reload, on a few painted cells. The list is read from the folder."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from _pytest.mark import ParameterSet

import bcc_lightning.modules
from bcc_lightning.architectures.image_input import smallest_input
from bcc_lightning.cli.experiment_files import experiment_names, find_experiment
from bcc_lightning.fit import main
from bcc_lightning.testing import ExperimentTests
from tests.miniature import SMALL, runs_in

FURTHER = {
    # One epoch of pre-training and one of the classifier.
    "lite/pbc_supcon": ["--model.contrastive_epochs", "1", "--trainer.max_epochs", "2"],
    # The same kind of network, a quarter of its size.
    "an2dl_efficientnet_v2_m_adam": ["--model.backbone", "tf_efficientnetv2_b3"],
    # A few blocks of the same kind, from random weights.
    **{
        f"dinobloom_small_{kind}": ["--model.weights", "null", "--model.variant", "{depth: 2}", "--data.image_size", "56"]
        for kind in ("probe", "tune", "lora")
    },
    # What is new in it is left; its branches run in pbc_inception_xception.
    "as_published/pbc_inception_xception_frozen": ["--model.inception", "resnet18", "--model.xception", "resnet18"],
}
"""Flags by which an experiment fits into a few seconds."""


NETWORKS = ("backbone", "inception", "xception", "swin", "cnn", "weights")
"""Parameters that choose a network, each of which is built."""


def choices(name: str) -> set[tuple[str, str]]:
    """List what an experiment's file decides: each setting with its value, but for numbers and names of networks."""

    def listed(value: object, path: str) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict | list) and value:
            for key, part in value.items() if isinstance(value, dict) else [("", part) for part in value]:
                yield from listed(part, f"{path}.{key}")
        else:
            is_any = (isinstance(value, int | float) and not isinstance(value, bool)) or path.endswith(NETWORKS)
            yield path, "any" if is_any else str(value)

    return set(listed(yaml.safe_load(find_experiment(name).read_text()), ""))


def covering() -> list[str]:
    """Choose few experiments that together make every choice which any experiment makes."""
    every = {name: choices(name) for name in sorted(experiment_names(), key=lambda name: ("_base_" in name, name))}
    chosen = ["quickstart", "raabin_cnn", "pbc_inception_xception"]
    while left := set().union(*every.values()) - set().union(*(every[name] for name in chosen)):
        chosen.append(max(every, key=lambda name: len(every[name] & left)))
    return chosen


COVERING = covering()
"""Experiments that run; each of the others differs from them in a network or in numbers, or makes their choices together."""


def smallest(name: str) -> int:
    """Choose the side in pixels: 32, or the smallest that the experiment's backbones take."""
    model = yaml.safe_load(find_experiment(name).read_text())["model"]
    module = getattr(bcc_lightning.modules, model["class_path"])
    defaults = {key: parameter.default for key, parameter in inspect.signature(module).parameters.items()}
    arguments = defaults | model.get("init_args", {})
    backbones = [arguments[key] for key in ("backbone", "inception", "xception", "swin", "cnn") if key in arguments]
    return max([32, *map(smallest_input, backbones)])


def experiment(name: str) -> ParameterSet:
    """Mark each experiment as slow but one, which stands for all in the fast lane."""
    return pytest.param(name, marks=[] if name == "raabin_cnn" else pytest.mark.slow)


class TestExperiments(ExperimentTests):
    """Each experiment, on a few painted cells."""

    @pytest.fixture(autouse=True, params=[experiment(name) for name in COVERING])
    def one(self, request: pytest.FixtureRequest, ready_store: None) -> None:
        self.experiment = request.param
        self.image_size = smallest(self.experiment)
        self.flags = [*FURTHER.get(self.experiment, []), *members(self.experiment)]


def members(name: str) -> list[str]:
    """Train two small members for an ensemble, which trains nothing itself."""
    if yaml.safe_load(find_experiment(name).read_text())["model"]["class_path"] != "Ensemble":
        return []
    few = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--data.val_cells", "8", "--data.test_cells", "8"]
    for seed in ("0", "1"):
        assert main([*SMALL, *few, "--seed_everything", seed]) == 0
    return ["--model.members", json.dumps([run.info.run_id for run in runs_in(Path("mlruns"))])]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(experiment_names()) - set(COVERING)))
def test_every_other_experiment_can_be_built(name: str) -> None:
    model = yaml.safe_load(find_experiment(name).read_text())["model"]
    if model["class_path"] == "Ensemble":
        assert set(model["init_args"]["members"]) <= set(experiment_names())
        return
    side = max(56, smallest(name))
    own = {"class_names": ["a", "b"], "image_size": side, "pretrained": False, "weights": None}
    if name.startswith("dinobloom"):
        own["variant"] = {"depth": 2}
    module = getattr(bcc_lightning.modules, model["class_path"])(**(model.get("init_args", {}) | own))
    assert module.eval()(torch.zeros(1, 3, side, side, dtype=torch.uint8)).shape == (1, 2)


@pytest.mark.parametrize("name", experiment_names())
def test_experiment_says_what_it_is(name: str) -> None:
    text = find_experiment(name).read_text()
    header = text[: text.index("\nmodel:")]
    assert header.startswith("# ")
    if name != "quickstart":
        assert "As published:" in header
    assert set(yaml.safe_load(text)) <= {"model", "data", "trainer", "selection", "stages"}


def test_experiments_are_found_from_another_folder_and_inside_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bcc_lightning.cli.experiment_files as files

    names = set(experiment_names())
    assert {"quickstart", "efficientswin", "as_published/efficientswin"} <= names
    package = tmp_path / "site" / "bcc_lightning"
    (package / "experiments").mkdir(parents=True)
    (package / "experiments" / "packed.yaml").write_text("model: {}\n")
    monkeypatch.setattr(files, "__file__", str(package / "cli" / "experiment_files.py"))
    assert list(experiment_names()) == ["packed"]


LISTED = """
efficientswin efficientswin_b3 swin_tiny efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3
an2dl_efficientnet_b3 an2dl_mobilenet_v2 an2dl_resnet50
pbc_cnn pbc_cnn_smote pbc_unet pbc_unet_full pbc_resnet50_sgd pbc_resnet50_rmsprop pbc_vgg16 pbc_densenet201 pbc_mobilenet_v2
pbc_inception_v3 pbc_xception pbc_inception_xception pbc_inception_xception_frozen pbc_supcon
an2dl_cnn an2dl_vgg16 an2dl_efficientnet_b0 an2dl_efficientnet_b2
an2dl_efficientnet_v2_b2 an2dl_efficientnet_v2_m_adam an2dl_efficientnet_v2_m_lion
raabin_cnn raabin_mobilenet_v2
medmnist_resnet18 resnet18_28 densenet121_native an2dl_ensemble house
"""


def test_no_system_of_the_sources_is_missing() -> None:
    assert set(LISTED.split()) <= set(experiment_names())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("an2dl_cnn", 2_458_376),  # sums in tests/architectures/test_plain_cnn.py
        ("pbc_unet", 34_704_456),
        ("pbc_unet_full", 7_703_432),
        ("raabin_cnn", 86_981),
        ("as_published/raabin_cnn", 86_981),
        ("pbc_inception_xception", 47_842_064),
        ("medmnist_resnet18", 11_172_936),  # tests/architectures/test_transfer.py
        ("house", 2_809_352),  # tests/modules/test_transfer_classifier.py
    ],
)
def test_experiments_have_the_parameters_of_their_sources(name: str, parameters: int) -> None:
    """At the experiment's own image size, on a data set with as many classes."""
    config = yaml.safe_load(find_experiment(name).read_text())
    module = getattr(bcc_lightning.modules, config["model"]["class_path"])
    classes = 5 if "raabin" in name else 8
    with torch.device("meta"):
        built = module(
            class_names=[str(i) for i in range(classes)],
            image_size=config["data"]["init_args"]["image_size"],
            **{**config["model"]["init_args"], "pretrained": False},
        )
    assert sum(p.numel() for p in built.network.parameters()) == parameters
