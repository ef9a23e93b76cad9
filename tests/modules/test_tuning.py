"""What is trained and what is not, and low-rank additions that nobody notices once they are merged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bcc_lightning as bcc
from bcc_lightning.errors import UserError
from bcc_lightning.fit import main
from bcc_lightning.modules.checkpoint import load_classifier, save_classifier
from bcc_lightning.modules.tuning import merge
from tests.miniature import PAINTED, runs_in

TINY = {"embed_dim": 24, "depth": 3, "num_heads": 2}
IMAGES = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def vit(**options: Any) -> bcc.TransferClassifier:
    torch.manual_seed(0)
    arguments = {"class_names": ["a", "b"], "image_size": 32, "pretrained": False, "precision": "32"}
    return bcc.TransferClassifier(backbone="vit_tiny_patch16_224", variant=dict(TINY), **arguments, **options)


def trained(module: torch.nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def test_what_each_mode_trains() -> None:
    every = trained(vit())
    head = {name for name in every if name.startswith("network.head")}
    assert trained(vit(tuning="head")) == head
    last = trained(vit(tuning="last:1")) - head
    assert last
    assert all("blocks.2." in name or ".norm." in name for name in last)
    assert trained(vit(tuning="bitfit")) == head | {name for name in every if name.endswith("bias")}
    added = trained(vit(tuning="lora", lora_rank=2)) - head
    assert len(added) == 3 * 2 * 2  # blocks, layers of attention, matrices
    assert all(name.rpartition(".")[2] in {"up", "down"} for name in added)
    sizes = {name: parameter.numel() for name, parameter in vit(tuning="lora", lora_rank=2).named_parameters()}
    width = TINY["embed_dim"]
    assert sum(sizes[name] for name in added) == 3 * 2 * ((width + 3 * width) + (width + width))


def test_additions_begin_at_zero_and_rank_0_is_frozen() -> None:
    expected = vit().eval()(IMAGES)
    torch.testing.assert_close(vit(tuning="lora").eval()(IMAGES), expected, rtol=0, atol=0)
    assert trained(vit(tuning="lora", lora_rank=0)) == trained(vit(tuning="head"))


@pytest.mark.parametrize("precision", ["32", "auto"])
def test_merged_equals_unmerged_to_the_last_bit_and_by_hand(precision: str) -> None:
    module = vit(tuning="lora", lora_rank=2, lora_alpha=6.0).eval()
    layer = module.network.backbone.network.blocks[1].attn.qkv
    low = layer.parametrizations.weight[0]
    torch.nn.init.normal_(low.up, generator=torch.Generator().manual_seed(1))
    original = layer.parametrizations.weight.original.detach().clone()
    expected = module(IMAGES)
    assert merge(module.network)
    assert torch.equal(module(IMAGES), expected)
    torch.testing.assert_close(layer.weight, original + 3.0 * low.up @ low.down)
    assert not merge(module.network)
    assert set(module.state_dict()) == set(vit().state_dict())


def test_swin_has_attention_too_and_a_cnn_has_none() -> None:
    swin = bcc.TransferClassifier(
        backbone="swin_tiny_patch4_window7_224", class_names=["a", "b"], image_size=32, pretrained=False, tuning="lora"
    )
    assert len([name for name in trained(swin) if name.endswith(".up")]) == 2 * 12  # blocks of Swin-T
    with pytest.raises(UserError, match="lora needs a network with attention"):
        bcc.PlainCNN(class_names=["a", "b"], image_size=32, tuning="lora")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tuning": "some"}, "tuning is 'some', it must be full, head, bitfit, lora, or last:N"),
        ({"tuning": "last:0"}, "it must be full"),
        ({"tuning": "last:99"}, "but the backbone has 4 blocks"),
        ({"tuning": "lora", "lora_rank": -1}, "lora_rank"),
        ({"tuning": "head", "frozen": "backbone"}, "exclude one another"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        vit(**options)


def test_a_checkpoint_written_in_the_middle_of_a_training_is_loaded_merged(tmp_path: Path) -> None:
    module = vit(tuning="lora", lora_rank=2).eval()
    torch.nn.init.normal_(module.network.backbone.network.blocks[0].attn.proj.parametrizations.weight[0].up)
    save_classifier(module, tmp_path / "best.ckpt")
    loaded = load_classifier(tmp_path / "best.ckpt")
    assert torch.equal(loaded(IMAGES), module(IMAGES))
    assert set(loaded.state_dict()) == set(vit().state_dict())


@pytest.mark.slow
def test_a_run_files_merged_weights_which_predict_what_was_tested(tmp_path: Path) -> None:
    network = ["--model", "TransferClassifier", "--model.backbone", "vit_tiny_patch16_224", "--model.variant", str(TINY)]
    few = ["--data.image_size", "32", "--data.batch_size", "16", "--trainer.max_epochs", "2", "--model.pretrained", "false"]
    flags = ["--model.tuning", "lora", "--model.lr", "0.01", "--trainer.enable_progress_bar", "false"]
    assert main(["--exp", "efficientnet_b0", *network, *PAINTED, *few, *flags]) == 0
    (run,) = runs_in(tmp_path / "mlruns")
    assert run.data.params["model.tuning"] == "lora"
    classifier = bcc.load(run.info.run_id)
    assert not any("parametrizations" in name for name in classifier.module.state_dict())
    cells = bcc.SyntheticSmear(image_size=32, train_cells=48, val_cells=24, test_cells=37).splits["test"]
    found = bcc.runs()[0]
    assert found.summary.trained is not None
    assert found.summary.parameters is not None
    assert found.summary.trained < 0.3 * found.summary.parameters
    answers = classifier.predict(cells.take(slice(None)))
    filed = found.predictions()
    import pandas as pd

    table = pd.read_parquet(filed)
    assert np.array_equal(answers[classifier.class_names].to_numpy(), table[classifier.class_names].to_numpy())
