"""What is wrong with a set of cell images, told before a GPU-hour is spent on it."""

from bcc_lightning.auditing.audit import audit
from bcc_lightning.auditing.cells import ArrayCells, AuditedCells, FileCells
from bcc_lightning.auditing.findings import AuditReport
from bcc_lightning.auditing.page import write_audit
from bcc_lightning.auditing.thresholds import Excess, Thresholds, exceeded

__all__ = ["ArrayCells", "AuditReport", "AuditedCells", "Excess", "FileCells", "Thresholds", "audit", "exceeded", "write_audit"]
