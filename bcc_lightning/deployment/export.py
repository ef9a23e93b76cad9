"""Write a trained network as ONNX or as a torch program, and measure that the file answers as the network does."""

import json
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from bcc_lightning.architectures.image_input import InputNormalisation
from bcc_lightning.datasets.cells import CellImages
from bcc_lightning.deployment.choices import Format, PrecisionName, refuse_quantised_program
from bcc_lightning.deployment.standalone import Standalone
from bcc_lightning.engine.rebuild import rebuild
from bcc_lightning.errors import UserError
from bcc_lightning.evaluation.metrics import TEST, VALIDATION
from bcc_lightning.files import whole_file
from bcc_lightning.optional_imports import optional_import
from bcc_lightning.prediction.classifier import Pixels, TrainedClassifier
from bcc_lightning.safe_names import column_name
from bcc_lightning.tracking.trained_networks import TrainedNetwork

Runner: TypeAlias = Callable[[Pixels], npt.NDArray[np.float32]]
"""Gives probabilities (N, C) for images (N, H, W, 3)."""

LARGEST_SIDE, LARGEST_BATCH = 8192, 4096
"""Largest image and batch that the file takes."""

EQUAL = 0.999
"""Share of the cells whose class must be the same in the file."""

LOST = 0.001
"""Accuracy that int8 may lose."""

CALIBRATION_CELLS = 128


@dataclass(frozen=True)
class Parity:
    """How the file answers for cells of the run, beside the network.

    Attributes:
        cells: number of test cells; 0 where the run's data are not on this machine, so that nothing was measured.
        equal: share of them that get the same class.
        largest: largest difference of a probability.
        accuracy: of the file.
        network_accuracy: of the network.
    """

    cells: int = 0
    equal: float | None = None
    largest: float | None = None
    accuracy: float | None = None
    network_accuracy: float | None = None

    def fault(self, precision: PrecisionName) -> str | None:
        """Describe why the file should not be used; None if it answers as the network does."""
        if self.equal is None or self.accuracy is None or self.network_accuracy is None:
            return "not measured: the run's test cells are not on this machine"
        if precision == "fp32" and self.equal < EQUAL:
            return f"only {100 * self.equal:.2f} % of the test cells get the same class as from the network"
        if precision == "int8" and self.network_accuracy - self.accuracy > LOST:
            return f"int8 loses {100 * (self.network_accuracy - self.accuracy):.2f} points of accuracy"
        return None


@dataclass(frozen=True)
class Export:
    """A file that was written.

    Attributes:
        file: the file.
        parity: how it answers.
        fault: why it should not be used; None if nothing is wrong.
        metadata: what the file says of itself.
    """

    file: Path
    parity: Parity
    fault: str | None
    metadata: dict[str, str]


def export(network: TrainedNetwork, out: Path, kind: Format = "onnx", precision: PrecisionName = "fp32") -> Export:
    """Write a trained network as a file that others can run.

    The file takes uint8 RGB pixels (N, H, W, 3) of any size, named ``images``, and gives ``probabilities`` (N, C) float32;
    cropping, resizing, normalisation and the test-time views are part of it.

    Args:
        network: the network, or the folds of a cross-validation, which vote.
        out: the file.
        kind: ``onnx``, or ``pt2`` for ``torch.export.load``.
        precision: ``int8`` quantises the weights of an ONNX file.

    Raises:
        UserError: a package is missing, the two do not go together, or the network computes what the formats lack.
    """
    refuse_quantised_program(kind, precision)
    classifier = TrainedClassifier.of(network)
    if any(isinstance(part, InputNormalisation) and part.stain == "macenko" for part in classifier.module.modules()):
        raise UserError(
            f"{network.title} cannot be exported: --model.stain macenko finds the stains of each image by eigenvectors, which "
            "these formats lack; train with --model.stain reinhard, or serve it with python -m bcc_lightning.serve"
        )
    standalone = Standalone(classifier).eval()
    cells = known_cells(network)
    with TemporaryDirectory() as folder:
        draft = Path(folder) / f"draft.{kind}"
        write_program(standalone, draft) if kind == "pt2" else write_onnx(standalone, draft)
        if precision == "int8":
            draft = quantise(draft, cells.validation if cells else None)
        run = program_runner(draft) if kind == "pt2" else onnx_runner(draft)
        parity = compare(run, classifier, cells) if cells else Parity()
        fault = parity.fault(precision)
        metadata = describe(network, classifier, parity, precision, fault)
        if kind == "onnx":
            add_metadata(draft, metadata)
        else:
            program = torch.export.load(draft)
            torch.export.save(program, draft, extra_files={"metadata.json": json.dumps(metadata)})
        with whole_file(out) as whole:
            whole.write_bytes(draft.read_bytes())
    return Export(out, parity, fault, metadata)


@dataclass(frozen=True)
class KnownCells:
    """Cells of a run.

    Attributes:
        test: the N cells of its test set, with which a file is compared.
        answers: what the run answered for them (N, C); None where it has not filed that, as of folds, which vote only now.
        validation: some images of its validation set, (M, S, S, 3).
    """

    test: CellImages
    answers: npt.NDArray[np.float32] | None
    validation: Pixels


def known_cells(network: TrainedNetwork) -> KnownCells | None:
    """Return cells of a run; None where they are not on this machine."""
    try:
        data = rebuild(network.folds[0] if network.folds else network)[1]
        test, validation = data.evaluated_cells(TEST), data.evaluated_cells(VALIDATION)
        filed = None if network.folds else network.predictions(TEST)
    except UserError:
        return None
    answers = None if filed is None else filed[[column_name(name) for name in data.class_names]].to_numpy(np.float32)
    return KnownCells(test, answers, validation.take(slice(0, CALIBRATION_CELLS)))


def dynamic_shapes() -> dict[str, dict[int, Any]]:
    """Describe which sizes of the input may vary."""
    size = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    height, width = (torch.export.Dim(name, min=2, max=LARGEST_SIDE) for name in ("height", "width"))
    return {"images": {0: size, 1: height, 2: width}}


def example(standalone: Standalone) -> torch.Tensor:
    """Return images with which the graph is traced; no two of their sizes are equal, which would be taken for a rule."""
    side = standalone.side
    return torch.randint(0, 256, (3, 3 * side + 5, 3 * side + 12, 3), dtype=torch.uint8)


def write_onnx(standalone: Standalone, file: Path) -> None:
    """Write ONNX with torch's exporter, and check it.

    Raises:
        UserError: a package is missing.
    """
    with optional_import("export", "--format onnx"):
        import onnx
        import onnxruntime  # noqa: F401 - missing later, the work would be lost
        import onnxscript  # noqa: F401 - torch's exporter imports it
    with redirect_stdout(StringIO()):
        program = torch.onnx.export(
            standalone,
            (example(standalone),),
            dynamo=True,
            dynamic_shapes=dynamic_shapes(),
            input_names=["images"],
            output_names=["probabilities"],
            verbose=False,
        )
    assert program is not None  # noqa: S101 - tells the type checker
    program.save(str(file), external_data=False)
    onnx.checker.check_model(str(file))


def write_program(standalone: Standalone, file: Path) -> None:
    """Write a torch program, which ``torch.export.load`` reads without this package."""
    with torch.no_grad():
        torch.export.save(torch.export.export(standalone, (example(standalone),), dynamic_shapes=dynamic_shapes()), file)


def quantise(file: Path, validation: npt.NDArray[np.uint8] | None) -> Path:
    """Quantise weights to int8: statically with validation cells where there are convolutions, else dynamically."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

    model = onnx.load(file)
    del model.graph.value_info[:]  # the exporter's shapes hold names that the quantiser cannot merge
    plain, quantised = file.with_name("plain.onnx"), file.with_name("int8.onnx")
    onnx.save(model, plain)
    network = [node.name for node in model.graph.node if node.op_type in {"Conv", "MatMul", "Gemm"}]
    if validation is None or not any(node.op_type == "Conv" for node in model.graph.node):
        quantize_dynamic(plain, quantised, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
        return quantised

    class Cells(CalibrationDataReader):  # type: ignore[misc]
        """Gives validation cells one by one."""

        def __init__(self, images: npt.NDArray[np.uint8]) -> None:
            self.batches = iter([{"images": images[place : place + 16]} for place in range(0, len(images), 16)])

        def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
            """Return the next images."""
            return next(self.batches, None)

    options = {"ActivationSymmetric": False, "WeightSymmetric": True}
    quantize_static(
        plain,
        quantised,
        Cells(np.ascontiguousarray(validation)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        nodes_to_quantize=[name for name in network if "einsum" not in name],
        op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        extra_options=options,
    )
    return quantised


def onnx_runner(file: Path) -> Runner:
    """Return a function that classifies images with ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


def program_runner(file: Path) -> Runner:
    """Return a function that classifies images with a torch program."""
    module = torch.export.load(file).module()
    return lambda images: module(torch.from_numpy(images)).numpy()


def compare(run: Runner, classifier: TrainedClassifier, cells: KnownCells) -> Parity:
    """Compare file and network on the run's test cells."""
    starts = range(0, len(cells.test), classifier.batch_size)
    batches = (np.ascontiguousarray(cells.test.take(slice(start, start + classifier.batch_size))) for start in starts)
    own, other = [], []
    for images in batches:
        other.append(run(images))
        if cells.answers is None:
            own.append(classifier.classify(np.stack([classifier.square(image) for image in images])).numpy())
    one, two = np.concatenate(own) if own else cells.answers, np.concatenate(other)
    assert one is not None  # noqa: S101 - tells the type checker
    return Parity(
        len(one),
        float((one.argmax(axis=1) == two.argmax(axis=1)).mean()),
        float(np.abs(one - two).max()),
        float((two.argmax(axis=1) == cells.test.labels).mean()),
        float((one.argmax(axis=1) == cells.test.labels).mean()),
    )


def describe(
    network: TrainedNetwork, classifier: TrainedClassifier, parity: Parity, precision: PrecisionName, fault: str | None
) -> dict[str, str]:
    """Describe the file, for its own metadata."""
    from bcc_lightning import __version__

    return {
        "class_names": json.dumps(classifier.class_names, ensure_ascii=False),
        "run_id": network.run_id or "",
        "network": network.title,
        "data_sha256": network.facts.get("data.sha256", ""),
        "data": network.facts.get("data.name", ""),
        "side": str(classifier.side),
        "crop": "" if classifier.crop is None else str(classifier.crop),
        "field_of_view": "" if classifier.field is None else f"{classifier.field:.10g}",
        "precision": precision,
        "parity": json.dumps(asdict(parity)),
        "warning": fault or "",
        "intended_use": "research on single blood cells; not for diagnosis",
        "bcc_lightning": __version__,
    }


def add_metadata(file: Path, metadata: dict[str, str]) -> None:
    """Write metadata into an ONNX file."""
    import onnx

    model = onnx.load(file)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, file)
