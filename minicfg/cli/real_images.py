"""The real images that a model is scored with: those it was trained on, and held-out ones.

The classifier is trained on training images. Samples are compared with held-out images if there are
any, because a model that has memorised its training images scores well against these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from minicfg.cli.options import DEFAULT_DATA, DataOptions
from minicfg.cli.training_data import load_training_data
from minicfg.data import Dataset
from minicfg.datasets.load import load_data, load_held_out
from minicfg.errors import DataError, UsageError
from minicfg.io.checkpoint import Checkpoint
from minicfg.io.format import printable
from minicfg.metrics.classifier import Classifier, check_images
from minicfg.metrics.stratified import limit_size

# Smallest number of training images per class: of 18, the fifth that the classifier is not trained
# on has 4, which is what `evaluate` needs.
MIN_IMAGES_PER_CLASS = 18
# Smallest number of held-out images per class, so that each half of them has about 4 of every
# class.
MIN_HELD_OUT_PER_CLASS = 8
MAX_SHOWN_CLASSES = 5


@dataclass(frozen=True, eq=False)
class RealImages:
    """The real images of the classes that have enough of them to be scored.

    Args:
        complete: all training images, with all classes.
        training: the training images of the scored classes.
        compared: the images of the scored classes that samples are compared with: held-out images,
            or `training`.
        labels: for each scored class, its label in the model.
    """

    complete: Dataset
    training: Dataset
    compared: Dataset
    labels: Tensor

    @property
    def is_held_out(self) -> bool:
        """Whether the samples are compared with images that the model was not trained on."""
        return self.compared is not self.training

    def unseen_by(self, classifier: Classifier) -> Dataset:
        """Real images that the classifier was not trained on."""
        return self.compared if self.is_held_out else classifier.held_out

    @cached_property
    def used(self) -> int:
        """The number of images that samples are compared with: a part of a large data set."""
        return len(limit_size(self.compared))

    @cached_property
    def training_images(self) -> int:
        """How many of the held-out images have exactly the pixels of a training image."""
        return count_shared(self.compared, self.complete) if self.is_held_out else 0

    def sentences(self) -> list[str]:
        """Sentences on the images that samples are compared with, and on classes without scores."""
        used = f"{self.used:,}"
        if self.used < len(self.compared):
            used += f" of {len(self.compared):,}"
        name = printable(self.compared.name)
        if self.is_held_out:
            sentences = [
                f"The scores compare samples with {used} held-out images ({name}), which the model "
                "was not trained on."
            ]
            if self.training_images:
                sentences = [
                    f"The scores compare samples with {used} held-out images ({name}), but "
                    f"{self.training_images:,} of the {len(self.compared):,} are training images "
                    "too, with the same pixels, so a model that memorised them scores well; remove "
                    "them from --real."
                ]
        else:
            sentences = [
                f"The scores compare samples with {used} training images ({name}), so a model that "
                "memorised them scores well. If you have held-out images, name them by --real."
            ]
        missing = self.not_scored()
        if missing:
            needed = f"{MIN_IMAGES_PER_CLASS} training images"
            if self.is_held_out:
                needed += f" or fewer than {MIN_HELD_OUT_PER_CLASS} held-out images"
            sentences.append(
                f"{len(missing)} of {self.complete.num_classes} classes are not scored, because "
                f"they have fewer than {needed}: {_shown(missing)}."
            )
        return sentences

    def not_scored(self) -> list[str]:
        """The names of the classes that have too few images."""
        return [name for name in self.complete.classes if name not in self.training.classes]

    def describe(self) -> dict[str, object]:
        """What `metrics.json` and `sweep.json` contain about the images of the comparison."""
        return {
            "images": "held-out" if self.is_held_out else "training",
            "data": self.compared.name,
            "images_used": self.used,
            "images_available": len(self.compared),
            "training_images_among_them": self.training_images,
            "classes": self.compared.classes,
            "classes_not_scored": self.not_scored(),
        }


def load_real_images(
    path: Path,
    trained: Checkpoint,
    data_spec: str,
    real_spec: str,
    reading: DataOptions = DEFAULT_DATA,
) -> RealImages:
    """Load the training images of a model and the held-out images, as far as there are any.

    Args:
        path: of the checkpoint, for messages.
        trained: the checkpoint.
        data_spec: as for `load_training_data`.
        real_spec: the specification of held-out images; "" for those beside the training data.
        reading: how the images of folders are read.

    Raises:
        UsageError: if no class has enough images, and as `load_training_data`.
        DataError: if the held-out images do not fit, and as `load_training_data`.
    """
    if not trained.classes:
        raise UsageError(
            f"{path} was trained without class labels, which the classifier that scores needs; "
            "choose a model that was trained with labels."
        )
    complete = load_training_data(path, trained, data_spec, reading)
    check_images(complete, 0)
    held_out = _load_held_out(complete, trained, data_spec, real_spec, reading)
    is_scored = _counts(complete) >= MIN_IMAGES_PER_CLASS
    if not bool(is_scored.any()):
        check_images(complete, MIN_IMAGES_PER_CLASS)  # raises, because no class has enough images
    if held_out is not None:
        is_scored &= _counts(held_out) >= MIN_HELD_OUT_PER_CLASS
        if not bool(is_scored.any()):
            raise UsageError(
                f"{printable(held_out.name)} has fewer than {MIN_HELD_OUT_PER_CLASS} held-out "
                "images of every class that could be scored; add images."
            )
    labels = torch.nonzero(is_scored).flatten()
    training = _select(complete, labels)
    compared = training if held_out is None else _select(held_out, labels)
    return RealImages(complete, training, compared, labels)


def _load_held_out(
    training: Dataset,
    trained: Checkpoint,
    data_spec: str,
    real_spec: str,
    reading: DataOptions,
) -> Dataset | None:
    """The held-out images that the user names, or those beside the training data, or None."""
    if real_spec:
        real = load_data(real_spec, trained.config.size, **asdict(reading))
    else:
        real = load_held_out(data_spec or trained.config.data, trained.config.size)
    if real is None:
        return None
    name = printable(real.name)
    if real.shape != training.shape or real.classes != training.classes:
        raise DataError(
            f"--real: {name} has {real.num_classes} classes of images {real.shape}, but the "
            f"training data have {training.num_classes} classes of images {training.shape}; name "
            "images of the same size, with the same class names in the same order."
        )
    if count_shared(real, training) == len(real):
        raise DataError(
            f"--real: {name} contains the training images themselves and no others; name images "
            "that the model was not trained on, or leave out --real."
        )
    return real


def count_shared(held_out: Dataset, training: Dataset) -> int:
    """How many of the held-out images have exactly the pixels of a training image."""
    of_training = set(_digests(training.x))
    return sum(digest in of_training for digest in _digests(held_out.x))


def _digests(x: Tensor) -> Iterator[bytes]:
    """A digest of each image."""
    for image in x:
        yield hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest()


def _counts(data: Dataset) -> Tensor:
    return torch.bincount(data.labels, minlength=data.num_classes)


def _select(data: Dataset, labels: Tensor) -> Dataset:
    """The images with these labels, which become 0, 1, ...; `data` itself if these are all."""
    if len(labels) == data.num_classes:
        return data
    is_selected = torch.isin(data.labels, labels)
    classes = tuple(data.classes[int(label)] for label in labels)
    y = torch.searchsorted(labels, data.labels[is_selected])
    selected = data.select(is_selected, data.name)
    return replace(selected, y=y, classes=classes)


def classes_with_few_images(data: Dataset) -> str:
    """A sentence that names the classes which `evaluate` will leave out; empty if there are none.

    `minicfg train` prints it at its start, while there is still time to add images.
    """
    missing = [
        name
        for name, count in zip(data.classes, _counts(data).tolist(), strict=True)
        if count < MIN_IMAGES_PER_CLASS
    ]
    if not missing:
        return ""
    return (
        f"evaluate and sweep will not score {len(missing)} of {data.num_classes} classes, which "
        f"have fewer than {MIN_IMAGES_PER_CLASS} images: {_shown(missing)}."
    )


def _shown(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    shown = ", ".join(printable(name) for name in names[:MAX_SHOWN_CLASSES])
    more = len(names) - MAX_SHOWN_CLASSES
    return f"{shown} and {more} more" if more > 0 else shown
