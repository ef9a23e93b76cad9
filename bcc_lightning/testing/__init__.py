"""Test suites for data modules, classifiers and experiments that are added here or in a package of one's own.

Each is a class of pytest: inherit from it under a name that begins with ``Test``, and fill in what it asks for.
"""

from bcc_lightning.testing.classifiers import ClassifierTests
from bcc_lightning.testing.data_modules import DataModuleTests
from bcc_lightning.testing.experiments import ExperimentTests

__all__ = ["ClassifierTests", "DataModuleTests", "ExperimentTests"]
