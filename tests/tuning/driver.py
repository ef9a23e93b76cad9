"""The driver of a stub search as a process that a test can kill: ``python -m tests.tuning.driver URL EXECUTOR WORKERS``."""

import sys
from typing import cast

from bcc_lightning.tuning.driver import Watch
from bcc_lightning.tuning.options import ExecutorName
from bcc_lightning.tuning.storage import Storage
from bcc_lightning.tuning.study import OpenStudy
from tests.tuning.searches import executor_of

url, name, workers = sys.argv[1:]
executor = cast(ExecutorName, name)
search = OpenStudy.load(Storage(url), "stub")
Watch(search, executor_of(executor, search, int(workers)), int(workers), tick=0.1).until_done()
