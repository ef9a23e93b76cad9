"""Networks in torch and timm, without Lightning: from pixels in [0, 1] to logits."""
