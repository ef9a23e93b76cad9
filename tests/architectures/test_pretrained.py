"""Pretrained weights: from the cache, from the hub or from a file; never silently random, never code from a file."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlparse

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor, nn

from bcc_lightning.architectures import pretrained
from bcc_lightning.architectures.backbone import Backbone
from bcc_lightning.architectures.transfer import TransferNet
from bcc_lightning.errors import UserError
from bcc_lightning.modules import EfficientSwin, TransferClassifier
from bcc_lightning.network import check_connection

SWIN = "swin_tiny_patch4_window7_224"
EFFICIENTNET = "efficientnet_b0"
HUB_ID = "timm/efficientnet_b0.ra_in1k"
"""Where timm keeps the weights of EfficientNet-B0."""


class RunsCode:
    """An object whose pickle writes a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self.file),)


@pytest.fixture
def silent_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the hub at a port whose queue is full: connecting to it is neither taken nor refused, as behind a firewall."""
    monkeypatch.setattr(pretrained, "HUB_TIMEOUT", 0.2)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
        waiting = [socket.socket() for _ in range(8)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(listening.getsockname())
        yield
        for client in waiting:
            client.close()


def put_in_cache(cache: Path, file: str) -> Path:
    """Lay an empty file out as the hub's client does: in the snapshot of a revision that `main` names."""
    repository = cache / f"models--{HUB_ID.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    revision = "0123456789" * 4
    (repository / "refs" / "main").write_text(revision, encoding="utf-8")
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (snapshot / file).write_bytes(b"")
    return snapshot / file


def timm_weights(name: str, **arguments: Any) -> dict[str, Tensor]:
    """Return random weights of timm's own network with its classifier of 1000 classes."""
    torch.manual_seed(3)
    network: nn.Module = timm.create_model(name, pretrained=False, **arguments)
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.normal_(norm.running_mean)  # fresh ones are 0 and 1: whether they were loaded could not be told
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return network.state_dict()


def write(state: dict[str, Tensor], file: Path) -> Path:
    """Write weights in the format that the file's name asks for."""
    if file.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, file)
    else:
        torch.save(state, file)
    return file


def classifier(file: Path | None, backbone: str = EFFICIENTNET, image_size: int = 64, names: int = 3) -> TransferClassifier:
    """Build a module that starts from a file, with the same random numbers at every call."""
    torch.manual_seed(4)
    classes = [f"class {i}" for i in range(names)]
    weights = None if file is None else str(file)
    return TransferClassifier(class_names=classes, image_size=image_size, pretrained=False, weights=weights, backbone=backbone)


def network_of(module: TransferClassifier) -> TransferNet:
    return cast(TransferNet, module.network)


def refusal(action: Callable[[], object]) -> str:
    """Run something that must end with an error for the user and return its text."""
    with pytest.raises(UserError) as refused:
        action()
    return str(refused.value)


# ---- the hub


@pytest.mark.parametrize("hub", ["refusing_hub", "silent_hub"])
@pytest.mark.parametrize("name", [SWIN, EFFICIENTNET])
def test_weights_out_of_reach_are_told_at_once(
    hub: str, name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names what is missing and both ways on; nobody waits for retries: the hub is asked once, for seconds."""
    request.getfixturevalue(hub)
    attempts: list[float] = []
    connect = socket.create_connection

    def connect_and_count(address: tuple[str, int], timeout: float, **options: Any) -> socket.socket:
        attempts.append(timeout)
        return connect(address, timeout, **options)

    monkeypatch.setattr(socket, "create_connection", connect_and_count)
    message = refusal(lambda: Backbone(name, 64, pretrained=True))
    assert len(attempts) == 1
    assert attempts[0] <= 5
    for part in (name, "--model.weights", "--model.pretrained false"):
        assert part in message


def test_the_silent_hub_is_waited_for_until_the_timeout(silent_hub: None) -> None:
    """Guards the fixture: a port that refused at once would test the other case twice."""
    assert not pretrained.hub_answers(constants.ENDPOINT)
    url = urlparse(constants.ENDPOINT)
    with pytest.raises(TimeoutError):
        check_connection(url.hostname or "", url.port or 0, pretrained.HUB_TIMEOUT)


def test_modules_do_not_fall_back_to_random_weights(refusing_hub: None) -> None:
    for module in (TransferClassifier, EfficientSwin):
        assert "--model.pretrained false" in refusal(lambda module=module: module(class_names=["a", "b"], image_size=64))


def test_offline_mode_asks_no_network(no_network: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "--model.weights" in refusal(lambda: pretrained.find_weights(EFFICIENTNET))


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_cached_weights_are_available(file: str, empty_cache: Path, no_network: None) -> None:
    put_in_cache(empty_cache, file)
    pretrained.find_weights(EFFICIENTNET)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_cached_weights_are_loaded_without_network(file: str, empty_cache: Path, no_network: None) -> None:
    """Asking the hub whether its file is newer costs 10 seconds per backbone where the network swallows the question."""
    given = timm_weights(EFFICIENTNET)
    write(given, put_in_cache(empty_cache, file))
    own = Backbone(EFFICIENTNET, 64, pretrained=True).network.state_dict()
    assert all(torch.equal(value, given[key]) for key, value in own.items())


def test_other_files_in_the_cache_are_no_weights(empty_cache: Path, refusing_hub: None) -> None:
    put_in_cache(empty_cache, "config.json")
    assert HUB_ID in refusal(lambda: pretrained.find_weights(EFFICIENTNET))


def test_a_hub_that_answers_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{hub.getsockname()[1]}")
        pretrained.find_weights(EFFICIENTNET)


def test_a_proxy_is_asked_in_place_of_the_hub(refusing_hub: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a company's proxy the hub's own name does not resolve, and yet weights can be fetched."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        pretrained.find_weights(EFFICIENTNET)


def test_an_architecture_without_published_weights_is_named() -> None:
    """Timm knows EfficientNet-B8, but only as a shape."""
    message = refusal(lambda: Backbone("efficientnet_b8", 64, pretrained=True))
    assert "efficientnet_b8" in message
    assert "--model.pretrained false" in message


def test_a_file_makes_the_hub_moot(tmp_path: Path, no_network: None) -> None:
    """``pretrained`` is true unless told otherwise; a given file goes first."""
    file = write(timm_weights(EFFICIENTNET), tmp_path / "weights.pth")
    TransferClassifier(class_names=["a", "b"], image_size=64, weights=str(file))


# ---- files of timm


@pytest.mark.parametrize("file", ["weights.pth", "weights.safetensors"])
def test_a_timm_file_fills_the_backbone_and_leaves_the_head(file: str, tmp_path: Path) -> None:
    """Timm's classifier of 1000 classes is left out; everything else arrives unchanged, running statistics too."""
    given = timm_weights(EFFICIENTNET)
    loaded = network_of(classifier(write(given, tmp_path / file)))
    random = network_of(classifier(None))
    own = loaded.backbone.network.state_dict()
    assert given.keys() - own.keys() == {"classifier.weight", "classifier.bias"}
    for key, value in own.items():
        assert torch.equal(value, given[key]), key
    assert torch.equal(loaded.head.classifier.weight, random.head.classifier.weight)
    assert torch.equal(loaded.head.classifier.bias, random.head.classifier.bias)


def test_a_loaded_backbone_computes_what_timm_computes(tmp_path: Path) -> None:
    given = timm_weights(EFFICIENTNET)
    backbone = network_of(classifier(write(given, tmp_path / "weights.pth"))).backbone.eval()
    reference: Any = timm.create_model(EFFICIENTNET).eval()
    reference.load_state_dict(given)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = reference.forward_head(reference.forward_features(backbone.normalise(images)), pre_logits=True)
        torch.testing.assert_close(backbone(images), expected, rtol=1e-3, atol=1e-4)


def test_the_same_size_keeps_swins_position_tables(tmp_path: Path) -> None:
    given = timm_weights(SWIN)
    own = network_of(classifier(write(given, tmp_path / "swin.pth"), SWIN, image_size=224)).backbone.network.state_dict()
    for key, value in own.items():
        assert torch.equal(value, given[key]), key


def test_swin_of_224_pixels_starts_a_swin_of_64(tmp_path: Path) -> None:
    """Windows of 8 instead of 7: tables of 2 * 7 - 1 = 13 offsets a side become 15 = 2 * 8 - 1, nothing else changes."""
    given = timm_weights(SWIN)
    own = network_of(classifier(write(given, tmp_path / "swin.pth"), SWIN)).backbone.network.state_dict()
    tables = {key for key in own if key.endswith("relative_position_bias_table")}
    assert len(tables) == 12  # a table in each of 2 + 2 + 6 + 2 blocks
    first = "layers.0.blocks.0.attn.relative_position_bias_table"
    assert given[first].shape == (13 * 13, 3)
    assert own[first].shape == (15 * 15, 3)
    for key in own.keys() - tables:
        assert torch.equal(own[key], given[key]), key


def test_resampled_tables_keep_their_course(tmp_path: Path) -> None:
    """A table that rises with the vertical offset must still rise, and lie the same way round, at the new size."""
    given = timm_weights(SWIN)
    key = "layers.0.blocks.0.attn.relative_position_bias_table"
    given[key] = torch.linspace(-1, 1, 13).repeat_interleave(13)[:, None].repeat(1, 3)
    own = network_of(classifier(write(given, tmp_path / "swin.pth"), SWIN)).backbone.network.state_dict()
    table = own[key].view(15, 15, 3)
    assert (table.diff(dim=0) > 0).all()
    assert table.diff(dim=1).abs().max() < 1e-3
    assert abs(table.mean()) < 1e-3


def test_each_branch_of_the_hybrid_takes_its_own_file(tmp_path: Path) -> None:
    swin, cnn = timm_weights(SWIN), timm_weights(EFFICIENTNET)
    files = write(swin, tmp_path / "swin.safetensors"), write(cnn, tmp_path / "cnn.pth")
    network: Any = EfficientSwin(
        swin_weights=str(files[0]), cnn_weights=str(files[1]), class_names=["a", "b"], image_size=224, pretrained=False
    ).network
    assert torch.equal(network.swin.network.patch_embed.proj.weight, swin["patch_embed.proj.weight"])
    assert torch.equal(network.cnn.network.conv_stem.weight, cnn["conv_stem.weight"])


# ---- files that do not fit


def test_weights_of_another_architecture_are_summed_up(tmp_path: Path) -> None:
    """The counts are those of timm's own key lists, which have no key in common."""
    given = timm_weights(EFFICIENTNET)
    with torch.device("meta"):
        wanted = timm.create_model(SWIN, num_classes=0).state_dict()
    assert not wanted.keys() & given.keys()
    file = write(given, tmp_path / "efficientnet.pth")
    message = refusal(lambda: classifier(file, SWIN))
    for part in (str(file), f"{len(wanted)} missing (", f"{len(given)} unexpected ("):
        assert part in message
    assert len(message) < 1000  # summed up, not listed: there are hundreds of keys


@pytest.mark.parametrize(
    "differences",
    [
        {"depths": (2, 2, 8, 2), "embed_dim": 24, "num_heads": (1, 2, 4, 8)},  # 8 blocks where Swin-T has 6, and narrower
        {"depths": (2, 2, 8, 2)},  # as wide as Swin-T
        {"embed_dim": 24, "num_heads": (1, 2, 4, 8)},  # as deep as Swin-T
    ],
)
@pytest.mark.parametrize("image_size", [64, 224])
def test_another_swin_is_another_architecture(differences: dict[str, Any], image_size: int, tmp_path: Path) -> None:
    """Keys are nearly the same, and timm's resampling of position tables sees them before the comparison does."""
    file = write(timm_weights(SWIN, **differences), tmp_path / "other.pth")
    assert "another architecture" in refusal(lambda: classifier(file, SWIN, image_size))


def test_weights_for_grey_images_are_refused(tmp_path: Path) -> None:
    """All keys agree; one shape differs."""
    file = write(timm_weights(EFFICIENTNET, in_chans=1), tmp_path / "grey.pth")
    assert "0 missing; 0 unexpected; 1 of another shape (conv_stem.weight)" in refusal(lambda: classifier(file))


def test_a_refused_file_changes_nothing(tmp_path: Path) -> None:
    network = timm.create_model(EFFICIENTNET, num_classes=0)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    given = {key: torch.zeros_like(value) for key, value in before.items()}
    given["conv_stem.weight"] = torch.zeros(7)
    refusal(lambda: pretrained.load_backbone_weights(network, given, "file"))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".bin"])
def test_a_file_that_would_run_code_is_refused(suffix: str, tmp_path: Path) -> None:
    proof = tmp_path / "code-ran"
    file = tmp_path / f"weights{suffix}"
    torch.save({"state_dict": {"conv_stem.weight": torch.zeros(1)}, "extra": RunsCode(proof)}, file)
    message = refusal(lambda: classifier(file))
    assert not proof.exists()
    assert str(file) in message


def test_the_file_that_would_run_code_would_run_it(tmp_path: Path) -> None:
    """Guards the test above: read carelessly, the same file does harm."""
    proof = tmp_path / "code-ran"
    torch.save(RunsCode(proof), tmp_path / "weights.pth")
    torch.load(tmp_path / "weights.pth", weights_only=False)
    assert proof.exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    message = refusal(lambda: classifier(tmp_path / "nowhere.pth"))
    assert str(tmp_path / "nowhere.pth") in message
    assert "--model.weights" in message


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".ckpt", ".txt"])
@pytest.mark.parametrize("content", [b"", b"not weights\n", b"<!DOCTYPE html><html>404</html>", b"version https://git-lfs\n"])
def test_a_text_file_is_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    """A page saved in place of the file, a pointer of Git LFS, a broken download."""
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(content)
    assert str(file) in refusal(lambda: pretrained.read_state_dict(file))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_broken_download_is_refused(suffix: str, tmp_path: Path) -> None:
    file = write({"conv_stem.weight": torch.zeros(100)}, tmp_path / f"weights{suffix}")
    file.write_bytes(file.read_bytes()[:-100])
    assert str(file) in refusal(lambda: pretrained.read_state_dict(file))


@pytest.mark.parametrize("saved", [[1, 2, 3], {"epoch": 3}, torch.zeros(3), {}])
def test_a_file_without_weights_is_refused(saved: object, tmp_path: Path) -> None:
    """Torch reads them without complaint."""
    file = tmp_path / "weights.pth"
    torch.save(saved, file)
    assert str(file) in refusal(lambda: classifier(file))
