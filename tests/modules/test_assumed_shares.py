"""The shares of the classes that a network expects, by Bayes' rule."""

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from lightning import Trainer

from bcc_lightning import InceptionXception, PlainCNN, SyntheticSmear, TransferClassifier
from bcc_lightning.balancing.balance import Balance, Balancing, EveryCell, balance_cells
from bcc_lightning.callbacks.averaging import MovingAverage
from bcc_lightning.datasets.smear_painter import paint_cells
from bcc_lightning.deployment.challenge import Classify
from bcc_lightning.deployment.model_facts import limitations
from bcc_lightning.deployment.standalone import Standalone
from bcc_lightning.errors import UserError
from bcc_lightning.modules.assumed_shares import ASSUMES_BLOOD, ClassShares, blood_shares, trained_shares
from bcc_lightning.modules.checkpoint import load_classifier
from bcc_lightning.modules.ensemble import Ensemble
from bcc_lightning.prediction.adaptation import adapt
from bcc_lightning.prediction.classifier import TrainedClassifier
from bcc_lightning.tracking.description import Description
from bcc_lightning.tracking.run_files import Summary

CLASSES = ["eosinophil", "neutrophil"]
IMAGES = torch.from_numpy(paint_cells(np.arange(12) % 8, 28, 0.2, 3)).permute(0, 3, 1, 2)


def small(class_shares: ClassShares, class_names: list[str] = CLASSES) -> PlainCNN:
    torch.manual_seed(0)
    return PlainCNN(class_names=class_names, image_size=28, class_shares=class_shares).eval()


def painted(**options: object) -> SyntheticSmear:
    return SyntheticSmear(train_cells=40, val_cells=16, test_cells=16, image_size=28, batch_size=20, num_workers=0, **options)  # type: ignore[arg-type]


def trained(class_shares: ClassShares, data: SyntheticSmear, folder: Path) -> tuple[PlainCNN, Path]:
    module = small(class_shares, list(data.class_names)).train()
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[MovingAverage(0.9)],
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(folder / f"{class_shares}.ckpt")
    return module.eval(), folder / f"{class_shares}.ckpt"


@pytest.mark.parametrize("balance", ["none", "class_weights"])
def test_a_training_is_the_same_and_its_answers_are_corrected_by_bayes_rule(tmp_path: Path, balance: str) -> None:
    data = painted(balance=balance)
    (plain, _), (blood, checkpoint) = trained("training", data, tmp_path), trained("blood", painted(balance=balance), tmp_path)
    counts = np.bincount(data.splits["train"].labels, minlength=8).astype(np.float64)
    seen = counts / counts.sum() if balance == "none" else np.full(8, 1 / 8)
    odds = torch.from_numpy(blood_shares(data.class_names, seen) / seen)
    expected = plain.probabilities(IMAGES).double() * odds
    expected /= expected.sum(dim=1, keepdim=True)
    for module in (blood, load_classifier(checkpoint).eval(), deepcopy(blood)):
        assert torch.allclose(module.probabilities(IMAGES).double(), expected, atol=1e-5)
        # Whatever calls the network alone, as maps and exports do, gets the same answer.
        assert torch.allclose(module.network(module.prepare(IMAGES)).softmax(1).double(), expected, atol=1e-5)
    assert blood.assumed_shares == pytest.approx(blood_shares(data.class_names, seen), abs=1e-6)
    assert plain.assumed_shares is None


def test_the_mean_over_the_views_of_a_cell_is_corrected_once() -> None:
    modules = small("training"), small("blood")
    for module in modules:
        module.hparams["test_time"] = "dihedral"
    before, after = (module.probabilities(IMAGES) for module in modules)
    ratio = (after[:, 1] / after[:, 0]) / (before[:, 1] / before[:, 0])
    assert torch.allclose(ratio, torch.tensor(60 / 3.5), rtol=1e-4)


def test_an_exported_network_answers_like_it() -> None:
    module = small("blood")
    module.hparams["test_time"] = "flips"
    pixels = IMAGES.permute(0, 2, 3, 1)
    exported = torch.export.export(Standalone(TrainedClassifier(module)).eval(), (pixels,)).module()
    assert torch.allclose(exported(pixels), module.probabilities(IMAGES), atol=1e-5)
    logits = torch.export.export(Classify(module).eval(), (IMAGES,)).module()(IMAGES)
    assert torch.allclose(logits, module(IMAGES), atol=1e-5)


@pytest.mark.parametrize("balance", ["oversample", "undersample", "weighted_sampler", "class_weights"])
def test_what_training_shows_of_each_class_is_what_balancing_makes_of_it(balance: Balance) -> None:
    labels = np.repeat([0, 1, 2], [7, 2, 1])
    cells = SimpleNamespace(labels=labels, weights=None)
    data = cast(Any, SimpleNamespace(training_cells=cells, balancing=balance_cells(labels, 3, balance)))
    assert trained_shares(data, 3) == pytest.approx(np.full(3, 1 / 3))


def test_a_class_without_a_training_cell_counts_as_one_cell() -> None:
    cells = SimpleNamespace(labels=[0, 0, 0, 1], weights=None)
    data = cast(Any, SimpleNamespace(training_cells=cells, balancing=Balancing(np.ones(4, np.float32), EveryCell(4))))
    assert trained_shares(data, 3) == pytest.approx([3 / 5, 1 / 5, 1 / 5])
    cells.weights = np.array([1, 1, 1, 3], np.float32)
    assert trained_shares(data, 3) == pytest.approx([3 / 7, 3 / 7, 1 / 7])


def test_before_training_classes_count_as_equally_frequent_in_the_training_cells() -> None:
    before, after = small("training").probabilities(IMAGES), small("blood").probabilities(IMAGES)
    ratio = (after[:, 1] / after[:, 0]) / (before[:, 1] / before[:, 0])
    assert torch.allclose(ratio, torch.tensor(60 / 3.5), rtol=1e-4)  # 40 to 80 % against 1 to 6 %


def test_it_can_be_undone_for_cells_that_are_not_from_healthy_blood() -> None:
    pixels = IMAGES.permute(0, 2, 3, 1).numpy()
    adapted = adapt(TrainedClassifier(small("blood")), pixels, ["equal"])
    assert torch.allclose(adapted.classify(pixels), small("training").probabilities(IMAGES), atol=1e-5)
    assert str(adapted.adaptation) == "Probabilities are corrected for classes that are all equally frequent."
    with pytest.raises(UserError, match="assumes the shares of the classes in blood already; leave blood out"):
        adapt(TrainedClassifier(small("blood")), pixels, ["blood"])


def test_tent_makes_the_own_answers_surer_and_the_correction_comes_after_it() -> None:
    pixels = IMAGES.permute(0, 2, 3, 1).numpy()
    blood, training = (adapt(TrainedClassifier(small(name)), pixels, ["tent"]) for name in ("blood", "training"))
    corrected = training.classify(pixels) * torch.tensor([3.5, 60.0])
    assert torch.allclose(blood.classify(pixels), corrected / corrected.sum(dim=1, keepdim=True), atol=1e-3)


def test_an_ensemble_expects_what_its_members_expect(tmp_path: Path) -> None:
    files = []
    for number in range(2):
        trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False)
        trainer.strategy.connect(small("blood"))
        files.append(str(tmp_path / f"{number}.ckpt"))
        trainer.save_checkpoint(files[-1])
    ensemble = Ensemble(members=files, class_names=CLASSES, image_size=28)
    assert ensemble.assumed_shares == pytest.approx([3.5 / 63.5, 60 / 63.5])
    assert torch.allclose(ensemble.probabilities(IMAGES), small("blood").probabilities(IMAGES), atol=1e-6)
    assert torch.allclose(ensemble(IMAGES).softmax(1), small("blood").probabilities(IMAGES), atol=1e-6)
    torch.manual_seed(1)
    trainer.strategy.connect(small("training"))
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    with pytest.raises(UserError, match="some members assume the shares of the classes in blood, others"):
        Ensemble(members=[files[0], str(tmp_path / "plain.ckpt")], class_names=CLASSES, image_size=28)
    with pytest.raises(UserError, match="takes the class shares of its members"):
        Ensemble(members=files, class_names=CLASSES, image_size=28, class_shares="blood")


def test_what_cannot_be_expected() -> None:
    with pytest.raises(UserError, match=r"blood: reference ranges are known for .* use --model.class_shares training"):
        small("blood", ["blast", "neutrophil"])
    module = small("blood")
    module.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(UserError, match="pass a data module to the trainer"):
        module.setup("fit")


def test_weights_of_a_corrected_network_start_any_other(tmp_path: Path) -> None:
    _, checkpoint = trained("blood", painted(), tmp_path)
    names = list(painted().class_names)
    started = PlainCNN(class_names=names, image_size=28, weights=str(checkpoint))
    assert started.assumed_shares is None
    again = PlainCNN(class_names=names, image_size=28, weights=str(checkpoint), class_shares="blood")
    assert again.assumed_shares == pytest.approx(blood_shares(names, np.full(8, 1 / 8)), abs=1e-6)


def test_a_branch_of_a_hybrid_starts_from_a_corrected_network(tmp_path: Path) -> None:
    both = cast(dict[str, Any], {"class_names": CLASSES, "image_size": 32, "pretrained": False})
    head = cast(Any, {"pooling": "avg", "hidden": [16]})
    alone = TransferClassifier(backbone="test_resnet", class_shares="blood", head=head, **both)
    torch.save({"state_dict": alone.state_dict()}, tmp_path / "branch.ckpt")
    weights = str(tmp_path / "branch.ckpt")
    hybrid = InceptionXception(
        inception="test_resnet", xception="test_resnet", inception_weights=weights, branch_head=head, **both
    )
    started, trained = dict(hybrid.network.named_parameters()), dict(alone.network.named_parameters())
    first = next(name for name in trained if name.endswith("conv1.0.weight"))
    assert torch.equal(started[f"inception.{first}"], trained[first])


def test_the_pages_and_the_server_say_so() -> None:
    assert ASSUMES_BLOOD in limitations(TrainedClassifier(small("blood")))
    assert ASSUMES_BLOOD not in limitations(TrainedClassifier(small("training")))
    run = Description(Summary("0" * 32, "traveller"), {"model": {"init_args": {"class_shares": "blood"}}})
    assert ASSUMES_BLOOD in run.limits


def test_half_precision_is_corrected_in_full() -> None:
    module = small("blood")
    with torch.autocast("cpu", torch.bfloat16):
        logits = module.network(module.prepare(IMAGES))
    assert logits.dtype == torch.float32
