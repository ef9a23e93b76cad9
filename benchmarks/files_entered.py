"""The files that a person reads to follow one run: those in which a function of the package is entered by `fit`.

    python benchmarks/files_entered.py --exp efficientswin

By default a tiny run: two batches of painted cells of 32 pixels, from random weights, in a folder that is deleted.
"""

import inspect
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import bcc_lightning

PACKAGE = Path(bcc_lightning.__file__).parent

TINY = (
    *("--data", "SyntheticSmear", "--data.image_size", "32", "--data.num_workers", "0", "--model.pretrained", "false"),
    *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"),
)


class Reader:
    """Notes each function of the package that is entered; bodies of classes and modules are not functions."""

    def __init__(self) -> None:
        self.entered: set[CodeType] = set()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        """Note a call, as `sys.setprofile` reports it."""
        if event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            self.entered.add(frame.f_code)

    def files(self) -> Counter[str]:
        """Count the functions entered in each file, by its path below the package."""
        paths = (Path(code.co_filename) for code in list(self.entered))
        own = (path for path in paths if path.is_relative_to(PACKAGE) and path.suffix == ".py")
        return Counter(path.relative_to(PACKAGE).as_posix() for path in own)


def main() -> None:
    """Run, count and print; how many files lead to the run in MLflow is counted when it is created."""
    from mlflow import MlflowClient

    from bcc_lightning.fit import main as fit

    flags = sys.argv[1:] or ["--exp", "efficientswin"]
    reader, create, before = Reader(), MlflowClient.create_run, list[str]()

    def create_and_count(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - MLflow's signature
        """Create a run, and note the files that led to it."""
        before.extend(reader.files())
        return create(*arguments, **named)

    MlflowClient.create_run = create_and_count  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        threading.setprofile(reader)
        sys.setprofile(reader)
        code = fit([*flags, *TINY, "--tracking.folder", folder])
        sys.setprofile(None)
    files = reader.files()
    for file, functions in sorted(files.items()):
        print(f"{file:<45}{functions:>4} functions")
    rooms = {file.partition("/")[0] for file in files if "/" in file}
    print(f"{len(before)} files until the run is created in MLflow")
    print(f"{len(files)} files in {len(rooms)} rooms, {sum(files.values())} functions; exit code {code}")


if __name__ == "__main__":
    main()
