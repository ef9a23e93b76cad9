"""The sources' own networks: their size by hand, the sizes of image that they take, and how they are built."""

from typing import Any

import pytest
import torch
from torch import nn

from bcc_lightning.architectures.head import Head
from bcc_lightning.architectures.image_input import InputNormalisation
from bcc_lightning.architectures.plain_cnn import ConvBlocks, PlainNet
from bcc_lightning.architectures.u_net import UNet
from bcc_lightning.errors import UserError

AN2DL = ConvBlocks([16, 32, 64, 128], pooled=3)
RAABIN = ConvBlocks([4, 8, 16, 32, 64], stride=2, pooled=0, batch_norm="after")
ENCODER = ConvBlocks([64, 128, 256], convolutions=2, batch_norm="none", initialisation="he_normal")
FLAT = Head(pooling="flatten")
AVERAGE = Head(pooling="avg")
LEVELS = [64, 128, 256, 512]


def build(image_size: int, blocks: ConvBlocks, head: Head = FLAT, classes: int = 8) -> PlainNet:
    torch.manual_seed(0)
    return PlainNet("the network", image_size, classes, blocks, head, InputNormalisation(), "32").eval()


def u_net(image_size: int, channels: list[int], head: Head = AVERAGE) -> UNet:
    torch.manual_seed(0)
    return UNet(image_size, 8, channels, head, InputNormalisation(), "32").eval()


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_an2dl_cnn_has_its_2_46_million_parameters() -> None:
    # convolutions 3-16-32-64-128, 9ab + b   448 + 4,640 + 18,496 + 73,856 =    97,440
    # batch normalisation, 2b                2 * (16 + 32 + 64 + 128)      =       480
    # 96 / 8 = 12 places a side: 12 * 12 * 128 = 18,432 inputs, 128 units  = 2,359,424
    # 128 inputs, 8 classes                                                =     1,032
    network = build(96, AN2DL, Head(pooling="flatten", hidden=[128], dropout=0.3))
    assert count_parameters(network.blocks) == 97_440 + 480
    assert count_parameters(network) == 2_458_376


def test_raabin_cnn_has_its_87_thousand_parameters() -> None:
    # convolutions 3-4-8-16-32-64            112 + 296 + 1,168 + 4,640 + 18,496 = 24,712
    # batch normalisation                    2 * (4 + 8 + 16 + 32 + 64)         =    248
    # 350, 175, 88, 44, 22, 11 places: 11 * 11 * 64 = 7,744 inputs, 8 units     = 61,960
    # batch normalisation of 8 units                                            =     16
    # 8 inputs, 5 classes                                                       =     45
    network = build(350, RAABIN, Head(pooling="flatten", hidden=[8], batch_norm="after"), classes=5)
    assert RAABIN.sides(350) == [175, 88, 44, 22, 11]
    assert count_parameters(network) == 86_981


def test_pbc_unet_has_the_published_parameters() -> None:
    # 64    1,792 + 36,928    128    73,856 + 147,584    256    295,168 + 590,080 =  1,145,408
    # 128 / 8 = 16 places a side: 16 * 16 * 256 = 65,536 inputs, 512 units        = 33,554,944
    # 512 inputs, 8 classes                                                       =      4,104
    network = build(128, ENCODER, Head(pooling="flatten", hidden=[512]))
    assert count_parameters(network.blocks) == 1_145_408
    assert count_parameters(network) == 34_704_456


def test_a_whole_u_net_has_the_parameters_of_its_levels() -> None:
    # double convolutions 9ab + b, twice, and 4b for batch normalisation
    encoder = [38_976, 221_952, 886_272, 3_542_016]  # 3-64, 64-128, 128-256, 256-512
    # 512-256 is 512 * 256 * 4 + 256; the decoder's blocks take twice their channels, half of them from the shortcut
    up = [524_544, 131_200, 32_832]
    decoder = [1_771_008, 443_136, 110_976]  # 512-256, 256-128, 128-64
    network = u_net(128, LEVELS)
    assert [count_parameters(block) for block in network.encoder] == encoder
    assert [count_parameters(block) for block in network.up] == up
    assert [count_parameters(block) for block in network.decoder] == decoder
    assert count_parameters(network) == sum(encoder + up + decoder) + 64 * 8 + 8 == 7_703_432


@pytest.mark.parametrize(
    ("blocks", "smallest"),
    [
        (AN2DL, 8),  # 8, 4, 2, 1: each pooling has 2 places
        (RAABIN, 17),  # 17, 9, 5, 3, 2, 1: with 16 the last convolution would see one place
        (ENCODER, 8),
        (ConvBlocks([4, 4], stride=2, pooled=1), 7),  # 7, 4, 2, 1; from 6 it is 3 and 1, and nothing is left for the second block
    ],
)
def test_smallest_input(blocks: ConvBlocks, smallest: int) -> None:
    assert blocks.smallest_input() == smallest
    assert build(smallest, blocks)(torch.zeros(2, 3, smallest, smallest)).shape == (2, 8)
    with pytest.raises(UserError, match=rf"image_size {smallest - 1} is too small.*--data.image_size {smallest}"):
        build(smallest - 1, blocks)


@pytest.mark.parametrize("image_size", [28, 30, 64])
@pytest.mark.parametrize("blocks", [AN2DL, RAABIN, ENCODER])
def test_sides_are_those_of_the_maps(blocks: ConvBlocks, image_size: int) -> None:
    network = build(image_size, blocks)
    maps, sides = torch.zeros(1, 3, image_size, image_size), []
    with torch.no_grad():
        for block in network.blocks:
            maps = block(maps)
            sides.append(maps.shape[2])
    assert sides == blocks.sides(image_size)


@pytest.mark.parametrize("image_size", [8, 28, 30, 31])
def test_a_u_net_takes_odd_sizes_and_keeps_the_images_own(image_size: int) -> None:
    network = u_net(image_size, [4, 8, 12, 16])
    target = network.cam_target("U-Net")
    seen: list[Any] = []
    with torch.no_grad():
        target.layer.register_forward_hook(lambda _m, _i, out: seen.append(target.as_nchw(out)))
        assert network(torch.rand(2, 3, image_size, image_size)).shape == (2, 8)
    assert seen[0].shape == (2, 4, image_size, image_size)


def test_a_u_net_refuses_less_than_its_halvings() -> None:
    with pytest.raises(UserError, match=r"--data.image_size 8"):
        u_net(7, [4, 8, 12, 16])


def test_the_decoder_sees_its_shortcut() -> None:
    """Without shortcuts the decoder would not notice a change of the first level that the pooling swallows."""
    network = u_net(16, [4, 8])
    levels = network._encode(torch.rand(1, 3, 16, 16))
    with torch.no_grad():
        plain = network._decode([levels[0], levels[1]])
        changed = network._decode([levels[0] + 1, levels[1]])
    assert not torch.allclose(plain, changed)


@pytest.mark.parametrize(
    ("norm", "order"),
    [("before", ["Conv2d", "BatchNorm2d", "ReLU"]), ("after", ["Conv2d", "ReLU", "BatchNorm2d"]), ("none", ["Conv2d", "ReLU"])],
)
def test_batch_norm_stands_where_it_was_asked_for(norm: Any, order: list[str]) -> None:
    block = build(32, ConvBlocks([4], batch_norm=norm)).blocks[0]
    layers = list(block.get_submodule("layers").children())
    assert [type(layer).__name__ for layer in layers] == order
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):  # Keras' momentum of 0.99 and epsilon of 0.001
            assert (layer.momentum, layer.eps) == (pytest.approx(1 - 0.99), 1e-3)


def test_he_and_glorot_spread_the_weights_as_their_papers_say() -> None:
    # fan-in of the second convolution is 9 * 64 = 576, fan-out 9 * 128 = 1,152
    he, glorot = (
        build(16, ConvBlocks([64, 128], initialisation=name)).blocks[1].layers[0].weight  # type: ignore[union-attr]
        for name in ("he_normal", "glorot_uniform")  # type: ignore[arg-type]
    )
    assert he.std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.02)
    assert glorot.abs().max().item() == pytest.approx((6 / (576 + 1152)) ** 0.5, rel=0.01)


@pytest.mark.parametrize(
    "arguments", [{"channels": []}, {"channels": [0]}, {"convolutions": 0}, {"stride": 3}, {"channels": [4], "pooled": 2}]
)
def test_impossible_blocks_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"--model.blocks"):
        ConvBlocks(**arguments)


def test_a_head_must_pool_where_the_network_does_not() -> None:
    for network in (lambda: build(32, AN2DL, Head()), lambda: u_net(32, LEVELS, Head())):
        with pytest.raises(UserError, match="avg or flatten"):
            network()


def test_input_statistics() -> None:
    """Raw values, a double division and exchanged colours, as published systems feed their networks."""
    white = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    raw = InputNormalisation(std=(1 / 255,) * 3)(white)
    assert raw[0, :, 0, 0].tolist() == pytest.approx([255, 127.5, 0])
    assert InputNormalisation(std=(255,) * 3)(white).max().item() == pytest.approx(1 / 255)
    assert InputNormalisation(order="bgr")(white)[0, :, 0, 0].tolist() == [0, 0.5, 1]
