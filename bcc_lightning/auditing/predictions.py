"""What a trained module of this project says about the audited cells."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from bcc_lightning.auditing.cells import AuditedCells
from bcc_lightning.auditing.scan import shrink
from bcc_lightning.datamodules.classes import class_key
from bcc_lightning.errors import UserError

BATCH = 64


@torch.inference_mode()
def predict(cells: AuditedCells, positions: npt.NDArray[np.int64], checkpoint: Path) -> npt.NDArray[np.float32]:
    """Classify cells, which are read again, at the size that the module was trained at.

    Args:
        cells: the data set.
        positions: (M,) readable cells.
        checkpoint: ``best.ckpt`` of a run.

    Returns:
        (M, C) float32 in the order of the data set's classes, rows sum to 1.

    Raises:
        UserError: the module knows other classes.
    """
    from bcc_lightning.modules.checkpoint import load_classifier

    module = load_classifier(checkpoint)
    known = list(map(class_key, module.class_names))
    if sorted(known) != sorted(map(class_key, cells.class_names)):
        raise UserError(
            f"{checkpoint} knows the classes {', '.join(module.class_names)}; the audited cells have "
            f"{', '.join(cells.class_names)}. Give a checkpoint that was trained on these classes, or leave it out"
        )
    order = [known.index(class_key(name)) for name in cells.class_names]
    parts = [np.zeros((0, len(order)), np.float32)]
    for start in range(0, len(positions), BATCH):
        images = [shrink(cells.read(p).image, module.image_size) for p in positions[start : start + BATCH].tolist()]
        logits = module(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))
        parts.append(logits.float().softmax(dim=1).numpy()[:, order])
    return np.concatenate(parts)
