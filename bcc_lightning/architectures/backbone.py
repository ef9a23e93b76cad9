"""A timm network as this project uses it: without its classifier, with pixels in [0, 1] as input."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.resnet import ResNet
from torch import Tensor, nn

from bcc_lightning.architectures.acceleration import Precision, lay_out, suited_precision
from bcc_lightning.architectures.cam_target import CamTarget, deepest_stage
from bcc_lightning.architectures.image_input import ChannelOrder, InputNormalisation, Statistic, check_image_size, swin_window
from bcc_lightning.architectures.pretrained import (
    Origin,
    find_weights,
    load_backbone_weights,
    load_packaged_weights,
    read_state_dict,
)
from bcc_lightning.architectures.stain_normalisation import StainName
from bcc_lightning.errors import UserError

WEIGHTS = {"cache_dir", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay"}
"""Arguments that make timm load weights, or the description of a network, from elsewhere."""

MAP_DIMENSIONS = 4
"""(B, C, H, W); a transformer that returns tokens has three dimensions."""


def check_name(name: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        UserError: the name is unknown; the message suggests similar names.
    """
    source = name.partition(":")[0] if ":" in name else None
    if source is not None:
        raise UserError(f"backbone '{name}' is from {source}; only timm's own networks are allowed; give a name without a source")
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=5)
        raise UserError(f"timm has no backbone '{name}'" + (f"; did you mean {', '.join(near)}?" if near else ""))


def refuse_files(arguments: Mapping[str, Any]) -> None:
    """Refuse timm arguments that choose weights, which timm would download or read by itself.

    Raises:
        UserError: there are such arguments; the message names them.
    """
    if chosen := sorted(WEIGHTS & arguments.keys()):
        raise UserError(f"--model.variant does not accept {', '.join(chosen)}; load weights with --model.weights FILE")


def create_network(name: str, pretrained: bool, arguments: dict[str, Any]) -> nn.Module:
    """Build a timm network without its classifier.

    Args:
        name: timm's name.
        pretrained: load the published weights.
        arguments: further arguments of ``timm.create_model``.

    Raises:
        UserError: timm refuses an argument, or the weights do not fit the network.
    """
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, **arguments)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        asked = ", ".join(f"{key}={value}" for key, value in arguments.items() if key != "pretrained_cfg_overlay")
        hint = "; if these change shapes, use --model.pretrained false" if pretrained else ""
        raise UserError(f"timm cannot build {name} with {asked or 'its defaults'}: {error!s:.300}{hint}") from error


def network_with_weights(
    name: str, pretrained: bool, weights: str | None, arguments: dict[str, Any]
) -> tuple[nn.Module, Origin | None]:
    """Build a timm network without its classifier, with its initial weights.

    Args:
        name: timm's name.
        pretrained: take the published weights, unless there is a file.
        weights: local weights file.
        arguments: further arguments of ``timm.create_model``.

    Returns:
        The network, and where its weights come from; None if they are random.

    Raises:
        UserError: the weights are not available, or do not fit.
    """
    if weights is not None:
        network = create_network(name, False, arguments)
        load_backbone_weights(network, read_state_dict(weights), weights)
        return network, Origin(Path(weights).name, weights)
    if not pretrained:
        return create_network(name, False, arguments), None
    origin = find_weights(name)
    if origin.is_packaged:
        network = create_network(name, False, arguments)
        load_packaged_weights(network, origin)
        return network, origin
    if origin.file:
        return create_network(name, True, {"pretrained_cfg_overlay": {"file": origin.file}, **arguments}), origin
    network = create_network(name, True, arguments)
    return network, find_weights(name)  # the file has been downloaded


class Backbone(nn.Module):
    """A timm network that turns images into pooled features.

    It normalises with its own mean and standard deviation (timm's ``pretrained_cfg``), so that the branches of a hybrid each
    see what they were trained on, and runs in the layout and precision that suit it.

    Args:
        name: timm's name, e.g. ``swin_tiny_patch4_window7_224``.
        image_size: side of the square input in pixels.
        pretrained: take timm's weights from the hub's cache, a package, or the hub.
        weights: local weights file; `pretrained` is then ignored.
        mean: mean to subtract, in [0, 1], one value per channel, instead of the backbone's own.
        std: standard deviation to divide by, likewise.
        precision: see `bcc_lightning.architectures.acceleration`.
        order: order of the colours that the network sees.
        stain: how the colours of each image are first brought to those of a reference smear, see `normalise_stain`.
        pooled: return pooled features; else the last feature map, for a head that pools.
        small_stem: see `bcc_lightning.architectures.backbone`.
        **timm_arguments: passed to ``timm.create_model``.

    Attributes:
        origin: where the weights come from that the network starts from; None if they are random.

    Raises:
        UserError: the image size is not allowed, or the weights are not available.
    """

    network: Any  # timm's networks share attributes that no common type declares

    def __init__(
        self,
        name: str,
        image_size: int,
        pretrained: bool = True,
        weights: str | None = None,
        mean: Statistic | None = None,
        std: Statistic | None = None,
        precision: Precision = "auto",
        order: ChannelOrder = "rgb",
        stain: StainName = "as_is",
        pooled: bool = True,
        small_stem: bool = False,
        **timm_arguments: Any,  # noqa: ANN401 - timm's own arguments
    ) -> None:
        super().__init__()
        check_name(name)
        refuse_files(timm_arguments)
        check_image_size(name, image_size, small_stem)
        has_fixed_size = bool(getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False))
        if name.startswith("swin_"):
            timm_arguments = {"img_size": image_size, "window_size": swin_window(image_size), **timm_arguments}
        elif has_fixed_size:
            timm_arguments = {"img_size": image_size, **timm_arguments}  # published position tables are resampled
        self.network, self.origin = network_with_weights(name, pretrained, weights, timm_arguments)
        if small_stem:
            put_small_stem(self.network, name)
        if not pooled and hasattr(self.network, "pre_logits"):
            self.network.pre_logits = nn.Identity()  # VGG's two wide layers; training them would be pointless
        lay_out(self.network)
        self.image_size = image_size
        self.precision = precision
        self.pooled = pooled
        self.small_stem = small_stem
        cfg = self.network.pretrained_cfg
        # After the network's own pooling further layers may follow, as in VGG.
        width = getattr(self.network, "head_hidden_size", None) if pooled else None
        self.num_features = int(width or self.network.num_features)
        self.normalise = InputNormalisation(mean or cfg["mean"], std or cfg["std"], order, stain)
        if has_fixed_size and not name.startswith(("vit_", "swin_")):
            self._refuse_unusable(name)

    def forward(self, images: Tensor) -> Tensor:
        """Compute features.

        Args:
            images: (B, 3, image_size, image_size), float32 in [0, 1].

        Returns:
            (B, num_features), float32; (B, num_features, H, W) if not pooled.
        """
        with suited_precision(self.network, images.device, self.precision):
            normalised = self.normalise(images)
            return (self.network(normalised) if self.pooled else self._map(normalised)).float()

    def map_side(self) -> int:
        """Return the side of the last feature map, measured with a blank image."""
        return self._map_side(self, axis=2)

    @property
    def channels_last(self) -> bool:
        """Whether the network's feature maps are (B, H, W, C)."""
        return getattr(self.network, "output_fmt", "NCHW") == "NHWC"

    def _map(self, normalised: Tensor) -> Tensor:
        features: Tensor = self.network.forward_features(normalised)
        if features.ndim != MAP_DIMENSIONS:
            name = type(self.network).__name__
            raise UserError(f"{name} returns tokens, not a map that a head could pool; use --model.head.pooling backbone")
        return features.permute(0, 3, 1, 2) if self.channels_last else features

    def cam_target(self, name: str) -> CamTarget:
        """Return the layer that Grad-CAM reads: the deepest stage whose map is still wide enough.

        Args:
            name: name of the map in figures.
        """
        if hasattr(self.network, "blocks") and hasattr(self.network, "num_prefix_tokens"):
            return token_target(name, self.network)
        stages = list(self.network.feature_info)
        stage = deepest_stage(stages_behind_small_stem(stages) if self.small_stem else stages, self.image_size)
        layer = self.network.get_submodule(str(stage["module"]))
        side = self._map_side(layer, axis=1 if self.channels_last else 2)
        lost = max(0, -(-self.image_size // int(str(stage["reduction"]))) - side)
        return CamTarget(name, layer, int(str(stage["num_chs"])), side, self.channels_last, lost)

    def _refuse_unusable(self, name: str) -> None:
        """Refuse a transformer that cannot be built for the image size, or whose maps cannot be drawn: timm has many kinds.

        Raises:
            UserError: before a run is opened, where it would otherwise fail after the training.
        """
        try:
            _ = self.map_side() if not self.pooled else self.cam_target("trial")
            self.eval()(torch.zeros(1, 3, self.image_size, self.image_size))
        except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError) as error:
            raise UserError(
                f"{name} cannot be used at {self.image_size} pixels ({str(error) or type(error).__name__:.200}). Next step: "
                "another --data.image_size, a multiple of its patch, or a backbone whose name begins with vit_ or swin_, or a "
                "convolutional network"
            ) from error
        finally:
            self.train()

    def _map_side(self, layer: nn.Module, axis: int) -> int:
        """Measure the side of a layer's map: without padding it is less than image size divided by reduction."""
        sides: list[int] = []

        def measure(_module: nn.Module, _inputs: Any, output: Tensor) -> None:  # noqa: ANN401 - whatever the layer takes
            """Note the side of the map."""
            if output.ndim != MAP_DIMENSIONS:
                raise RuntimeError("a stage returns tokens, of which no map can be drawn")
            sides.append(output.shape[axis])

        hook = layer.register_forward_hook(measure)
        training = [module for module in self.modules() if module.training]
        try:
            with torch.no_grad():
                self.eval()(torch.zeros(1, 3, self.image_size, self.image_size, device=self.normalise.mean.device))
        finally:
            hook.remove()
            for module in training:
                module.training = True
        return sides[0]


def token_target(name: str, network: Any) -> CamTarget:  # noqa: ANN401 - timm's transformers share no common type
    """Return the layer that Grad-CAM reads in a ViT: before the last attention, since behind it only the class token counts."""
    side = int(network.patch_embed.grid_size[0])
    prefix = int(network.num_prefix_tokens)
    return CamTarget(name, network.blocks[-1].norm1, int(network.embed_dim), side, prefix_tokens=prefix)


STEM_REDUCTION = 4
"""Factor by which the usual stem shrinks an image: a stride of 2, then pooling by 2."""


def put_small_stem(network: nn.Module, name: str) -> None:
    """Replace the stem of a timm ResNet in place; the new convolution is random.

    Args:
        network: the network.
        name: timm's name, for the message.

    Raises:
        UserError: the network is not a ResNet, or its stem is not a single convolution.
    """
    resnet: Any = network
    if not isinstance(network, ResNet) or not isinstance(network.conv1, nn.Conv2d):
        raise UserError(f"--model.small_stem replaces a ResNet's 7x7 convolution, but {name} has none; use false, or resnet18")
    resnet.conv1 = nn.Conv2d(3, network.conv1.out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(resnet.conv1.weight, mode="fan_out", nonlinearity="relu")
    resnet.maxpool = nn.Identity()


def stages_behind_small_stem(stages: list[dict[str, object]]) -> list[dict[str, object]]:
    """Correct timm's ``feature_info``: its reductions count the stem that was replaced."""
    return [{**stage, "reduction": max(1, int(str(stage["reduction"])) // STEM_REDUCTION)} for stage in stages]
