"""Images in a folder with one subfolder per class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from minicfg.data import Dataset
from minicfg.datasets.arrays import check_memory, images_from_bytes
from minicfg.errors import DataError

MAX_PIXELS = 2**26  # Pixels of one image file, before it is scaled down.
SUFFIXES = (".png", ".jpg", ".jpeg")


def read_folder(folder: Path, size: int, name: str) -> Dataset:
    """Read PNG and JPEG files, scaled and cropped to `size` x `size`.

    The name of a subfolder is the name of its class. If all images are grey, the data set has one
    channel, otherwise three. Files and folders whose name begins with a dot are skipped.

    Raises:
        DataError: if a class has no images, or if a file is not an image inside `folder`.
    """
    if not folder.is_dir():
        raise DataError(
            f"{name}: {folder} is no folder: name one that has a subfolder of images per class"
        )
    root = os.path.realpath(folder)
    class_folders = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    for path in class_folders:
        if not path.is_dir():
            raise DataError(
                f"{path} is no folder, but {folder} must have one subfolder per class and nothing "
                "else: move the file away"
            )
    files = list[Path]()
    labels = list[int]()
    empty = list[str]()
    for label, class_folder in enumerate(class_folders):
        of_class = sorted(p for p in class_folder.iterdir() if not p.name.startswith("."))
        files += of_class
        labels += [label] * len(of_class)
        if not of_class:
            empty.append(class_folder.name)
    check_memory(folder, (len(files), 3, size, size), 12 * size * size)
    if not files or empty:
        which = f" of {', '.join(empty)}" if empty else ""
        raise DataError(
            f"{name}: there are no images{which}: put at least one PNG or JPEG file into the "
            "subfolder of each class"
        )
    images = [_read_image(file, size, root) for file in files]
    is_grey = all(image.mode == "L" for image in images)
    pixels = np.stack([np.asarray(i if is_grey else i.convert("RGB")) for i in images])
    return Dataset(
        x=images_from_bytes(pixels[:, None] if is_grey else pixels.transpose(0, 3, 1, 2)),
        y=torch.tensor(labels),
        classes=tuple(path.name for path in class_folders),
        name=name,
    )


def _read_image(file: Path, size: int, root: str) -> Image.Image:
    """Read one image, scale it and crop its centre to a square; mode L if it is grey, else RGB."""
    # realpath also ends where links form a loop.
    if not Path(os.path.realpath(file)).is_relative_to(root):
        raise DataError(f"{file} is a link out of {root}: put the image itself there")
    if not file.is_file() or file.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"{file} is no image file: move it away, or store it as one of {', '.join(SUFFIXES)}"
        )
    try:
        with file.open("rb") as stream, Image.open(stream, formats=("PNG", "JPEG")) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DataError(
                    f"{file} has {width}x{height} pixels, and at most {MAX_PIXELS} are allowed: "
                    "scale it down"
                )
            upright = ImageOps.exif_transpose(image)
            if upright.mode == "I;16":  # Pillow would clip 16 bits to 255, so keep the upper 8.
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            mode = "L" if upright.mode in ("L", "1", "LA") else "RGB"
            return ImageOps.fit(upright.convert(mode), (size, size), Image.Resampling.BICUBIC)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(
            f"{file} is neither PNG nor JPEG, whatever its suffix: convert it to one of them"
        ) from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, MemoryError) as error:
        raise DataError(
            f"{file} cannot be read ({error}): replace it by a whole PNG or JPEG file"
        ) from None
