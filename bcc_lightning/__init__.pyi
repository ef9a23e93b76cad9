from .api import compare, embed, evaluate, experiments, explain, export, fit, load, probe, runs
from .datamodules import (
    AN2DL,
    PBC,
    BloodMNIST,
    CellDataModule,
    CellFolder,
    CellTable,
    Mixed,
    RaabinWBC,
    SyntheticSmear,
)
from .errors import UserError
from .modules import (
    CellClassifier,
    EfficientSwin,
    Ensemble,
    InceptionXception,
    PlainCNN,
    SupConClassifier,
    TransferClassifier,
    UNetClassifier,
)

__version__: str

__all__ = [
    "AN2DL",
    "PBC",
    "BloodMNIST",
    "CellClassifier",
    "CellDataModule",
    "CellFolder",
    "CellTable",
    "EfficientSwin",
    "Ensemble",
    "InceptionXception",
    "Mixed",
    "PlainCNN",
    "RaabinWBC",
    "SupConClassifier",
    "SyntheticSmear",
    "TransferClassifier",
    "UNetClassifier",
    "UserError",
    "compare",
    "embed",
    "evaluate",
    "experiments",
    "explain",
    "export",
    "fit",
    "load",
    "probe",
    "runs",
]
