"""Class names and their order, once for all data sets that share them."""

EIGHT_CELL_CLASSES = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "ig",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)
"""Classes of PBC and BloodMNIST, in the order of BloodMNIST's labels 0 to 7; ``ig`` are immature granulocytes."""
