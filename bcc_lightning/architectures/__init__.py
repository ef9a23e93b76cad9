"""Networks in pure torch and timm: pixels in [0, 1] go in, logits come out. No Lightning here."""
