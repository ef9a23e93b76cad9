"""Building transforms from steps. Every name, parameter and value is checked, since Albumentations only warns."""

import difflib
import inspect
import warnings
from typing import Any

import albumentations as A  # noqa: N812 - the library's own spelling
import numpy as np

from bcc_lightning.errors import UserError
from bcc_lightning.transforms.rand_augment import AugMix, RandAugment
from bcc_lightning.transforms.recipes import Step
from bcc_lightning.transforms.stain import SlightDefocus, StainJitter

OWN = {transform.__name__: transform for transform in (RandAugment, AugMix, StainJitter, SlightDefocus)}
CHOICES = {"OneOf": A.OneOf, "SomeOf": A.SomeOf, "Sequential": A.Sequential}
"""Steps that contain further steps, under `transforms`."""

TRIAL_SIDES = (28, 33)
"""Sides in pixels of the square images on which a user's own pipelines are tried."""


def known_transforms() -> dict[str, Any]:
    """Return the transforms that a step can name: Albumentations' for images, its choices, and this project's own."""
    kinds = (A.ImageOnlyTransform, A.DualTransform)
    theirs = {name: each for name, each in vars(A).items() if inspect.isclass(each) and issubclass(each, kinds)}
    return {**theirs, **CHOICES, **OWN}


def build_steps(steps: list[Step]) -> list[A.BasicTransform | A.BaseCompose]:
    """Build the transforms of a pipeline.

    Raises:
        UserError: a step is not a transform with parameters, or a name, a parameter or a value is not allowed.
    """
    return [build_step(step) for step in steps]


def build_step(step: Step) -> A.BasicTransform | A.BaseCompose:
    """Build one transform.

    Raises:
        UserError: see `build_steps`.
    """
    name, parameters = read_step(step)
    known = known_transforms()
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name, known, n=3))
        raise UserError(
            f"transform '{name}' is not known{f'; did you mean {near}' if near else ''}; a step takes an image transform of "
            f"Albumentations {A.__version__}, {', '.join([*CHOICES, *OWN])}"
        )
    _refuse_unknown_parameters(name, known[name], parameters)
    if name in CHOICES:
        inner = parameters.get("transforms")
        if not isinstance(inner, list) or not inner:
            raise UserError(f"transform '{name}' takes a list of steps under transforms, not {inner!r}; write at least one")
        parameters = {**parameters, "transforms": build_steps(inner)}
    return _construct(name, known[name], parameters)


def read_step(step: Step) -> tuple[str, dict[str, Any]]:
    """Return the name and the parameters of a step.

    Raises:
        UserError: the step is not one name with a mapping of parameters.
    """
    if isinstance(step, str):
        return step, {}
    if isinstance(step, dict) and len(step) == 1:
        name, parameters = next(iter(step.items()))
        if isinstance(name, str) and (parameters is None or isinstance(parameters, dict)):
            return name, parameters or {}
    raise UserError(
        f"augmentation step {step!r} is not understood; write a transform's name and its parameters: Affine: {{p: 0.5}}"
    )


def override(pipeline: str, steps: list[Step], changes: dict[str, Any]) -> list[Step]:
    """Return the steps of a named pipeline with changed parameters, also those inside choices.

    Args:
        pipeline: its name, for the message.
        steps: its steps, which are not modified.
        changes: new parameters by transform.

    Raises:
        UserError: the pipeline has no such transform, or a change is not a mapping.
    """
    names = step_names(steps)
    for name, parameters in changes.items():
        if name not in names:
            has = f"it has {', '.join(names)}" if names else "it has no steps"
            raise UserError(f"augmentation '{pipeline}' has no transform '{name}'; {has}; write steps: for your own pipeline")
        if not isinstance(parameters, dict):
            raise UserError(f"transform '{name}' takes parameters, not {parameters!r}; write for example {name}: {{p: 0.5}}")
    return [_changed(step, changes) for step in steps]


def step_names(steps: list[Step]) -> list[str]:
    """List the transforms of a pipeline, also those inside choices."""
    names = []
    for name, parameters in map(read_step, steps):
        names += [name, *step_names(parameters["transforms"] if name in CHOICES else [])]
    return names


def refuse_unfit(transforms: list[A.BasicTransform | A.BaseCompose]) -> None:
    """Apply each transform to two images, and refuse a transform that fails or changes shape or type.

    Raises:
        UserError: names the transform and what it returned.
    """
    for transform in transforms:
        if isinstance(transform, A.BaseCompose):
            refuse_unfit(transform.transforms)
            continue
        name = type(transform).__name__
        for side in TRIAL_SIDES:
            image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
            try:
                changed = transform(image=image, force_apply=True)["image"]
            except Exception as error:
                raise UserError(
                    f"transform '{name}' fails on an image of {side} x {side}: {' '.join(str(error).split())}; "
                    "choose another transform, or other parameters"
                ) from error
            if tuple(changed.shape) != image.shape or changed.dtype != image.dtype:
                raise UserError(
                    f"transform '{name}' turns a uint8 image of {image.shape} into {changed.dtype} of {tuple(changed.shape)}; "
                    "choose transforms that keep size and type: --data.image_size sets the size, and the module normalises"
                )


def _changed(step: Step, changes: dict[str, Any]) -> Step:
    name, parameters = read_step(step)
    if name in CHOICES:
        parameters = {**parameters, "transforms": [_changed(inner, changes) for inner in parameters["transforms"]]}
    return {name: {**parameters, **changes.get(name, {})}}


def _refuse_unknown_parameters(name: str, transform: Any, parameters: dict[str, Any]) -> None:  # noqa: ANN401 - a class
    allowed = [parameter for parameter in inspect.signature(transform).parameters if parameter != "strict"]
    for parameter in parameters:
        if parameter not in allowed:
            raise UserError(f"transform '{name}' has no parameter '{parameter}'; it takes {', '.join(allowed)}")


def _construct(name: str, transform: Any, parameters: dict[str, Any]) -> A.BasicTransform | A.BaseCompose:  # noqa: ANN401
    given = ", ".join(f"{key}: {value}" for key, value in parameters.items() if key != "transforms")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Albumentations warns about a wrong value and takes its default
            return transform(**parameters)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, UserWarning) as error:
        reason = _reason(error)
        raise UserError(f"transform '{name}' refuses {{{given}}}: {reason}; correct the value") from error


def _reason(error: BaseException) -> str:
    faults = getattr(error.__cause__, "errors", None)  # of pydantic, which names each wrong value
    if faults is None:
        return " ".join(str(error).split())
    texts = [f"{fault['loc'][0] if fault['loc'] else 'value'} {fault['input']!r}: {fault['msg']}" for fault in faults()]
    return "; ".join(dict.fromkeys(texts))
