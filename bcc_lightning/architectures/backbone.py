"""A timm network as this project uses it: without its classifier, fed with pixels in [0, 1]."""

from difflib import get_close_matches
from typing import Any

import timm
import torch
from torch import Tensor, nn

from bcc_lightning.architectures.acceleration import Precision, lay_out, runs_in_bf16
from bcc_lightning.architectures.cam_target import CamTarget, deepest_stage
from bcc_lightning.architectures.input_size import check_image_size, swin_window
from bcc_lightning.architectures.pretrained import find_weights, load_backbone_weights, read_state_dict
from bcc_lightning.errors import UserError


def check_name(name: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        UserError: with near matches.
    """
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=5)
        raise UserError(f"timm has no backbone '{name}'" + (f"; did you mean {', '.join(near)}?" if near else ""))


class Backbone(nn.Module):
    """A timm network that turns images into pooled features.

    It normalises with its own mean and standard deviation (timm's ``pretrained_cfg``), so that the branches of a hybrid each
    see what they were trained on, and runs in the layout and precision that suit it.

    Args:
        name: timm's name, e.g. ``swin_tiny_patch4_window7_224``.
        image_size: side of the square input in pixels.
        pretrained: take timm's weights from the cache or the hub.
        weights: local weights file instead; makes `pretrained` moot.
        mean: mean to subtract, in [0, 1], one value per channel, instead of the backbone's own.
        std: standard deviation to divide by, likewise.
        precision: see `bcc_lightning.architectures.acceleration`.
        **timm_arguments: passed to ``timm.create_model``.

    Raises:
        UserError: the image size is refused, or the weights cannot be had.
    """

    network: Any  # timm's networks share attributes that no common type declares
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        image_size: int,
        pretrained: bool = True,
        weights: str | None = None,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        precision: Precision = "auto",
        **timm_arguments: Any,  # noqa: ANN401 - timm's own arguments
    ) -> None:
        super().__init__()
        check_name(name)
        check_image_size(name, image_size)
        if name.startswith("swin_"):
            timm_arguments = {"img_size": image_size, "window_size": swin_window(image_size), **timm_arguments}
        from_hub = pretrained and weights is None
        if from_hub and (cached := find_weights(name)):
            timm_arguments = {"pretrained_cfg_overlay": {"file": cached}, **timm_arguments}
        self.network = timm.create_model(name, pretrained=from_hub, num_classes=0, **timm_arguments)
        if weights is not None:
            load_backbone_weights(self.network, read_state_dict(weights), weights)
        lay_out(self.network)
        self.image_size = image_size
        self.precision = precision
        self.num_features = int(self.network.num_features)
        cfg = self.network.pretrained_cfg
        self.register_buffer("mean", torch.tensor(mean or cfg["mean"]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std or cfg["std"]).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Compute pooled features.

        Args:
            images: (B, 3, image_size, image_size), float32 in [0, 1].

        Returns:
            (B, num_features), float32.
        """
        device = images.device.type
        normalised = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        if torch.is_autocast_enabled(device):  # the trainer's precision was set by hand and goes first
            return self.network(normalised).float()  # type: ignore[no-any-return]
        with torch.autocast(device, torch.bfloat16, enabled=runs_in_bf16(self.network, images.device, self.precision)):
            return self.network(normalised).float()  # type: ignore[no-any-return]

    def cam_target(self, name: str) -> CamTarget:
        """Declare the layer that Grad-CAM reads: the deepest stage whose map is still wide enough.

        Args:
            name: what the map is called in figures.
        """
        stage = deepest_stage(list(self.network.feature_info), self.image_size)
        layer = self.network.get_submodule(str(stage["module"]))
        channels_last = getattr(self.network, "output_fmt", "NCHW") == "NHWC"
        side = self._map_side(layer, axis=1 if channels_last else 2)
        return CamTarget(name, layer, int(str(stage["num_chs"])), side, channels_last)

    def _map_side(self, layer: nn.Module, axis: int) -> int:
        """Measure the side of a layer's map: networks without padding give less than image size over reduction."""
        sides: list[int] = []
        hook = layer.register_forward_hook(lambda _module, _inputs, output: sides.append(output.shape[axis]))
        training = [module for module in self.modules() if module.training]
        try:
            with torch.no_grad():
                self.eval()(torch.zeros(1, 3, self.image_size, self.image_size, device=self.mean.device))
        finally:
            hook.remove()
            for module in training:
                module.training = True
        return sides[0]
