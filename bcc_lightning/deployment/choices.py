"""What an exported network can be written as; no library is loaded for it."""

from typing import Literal

from bcc_lightning.errors import UserError

Format = Literal["onnx", "pt2"]
PrecisionName = Literal["fp32", "int8"]


def refuse_quantised_program(kind: Format, precision: PrecisionName) -> None:
    """Refuse int8 for a torch program.

    Raises:
        UserError: the two do not go together.
    """
    if kind == "pt2" and precision != "fp32":
        raise UserError(f"--precision {precision} goes with --format onnx only; leave it out, or write --format onnx")
