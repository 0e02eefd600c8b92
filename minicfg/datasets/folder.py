"""Images in a folder with one subfolder per class."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from minicfg.data import Dataset
from minicfg.datasets.arrays import check_memory, images_from_bytes
from minicfg.errors import DataError

MAX_PIXELS = 2**26  # Pixels of one image file, before it is scaled down.
ORIENTATION = 0x112  # The EXIF tag that states how a camera was held.
TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SUFFIXES = (".png", ".jpg", ".jpeg")


def read_folder(folder: Path, size: int, name: str) -> Dataset:
    """Read PNG and JPEG files, scaled and cropped to `size` x `size`.

    The name of a subfolder is the name of its class. If all images are grey, the data set has one
    channel, otherwise three. Files and folders whose name begins with a dot are skipped.

    Transparent pixels are laid on white. Of 16 bits per channel the upper 8 are kept. An image is
    turned upright if its EXIF data state an orientation.

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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damaged EXIF data, and names no file.
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
            image.load()
            return ImageOps.fit(
                _grey_or_rgb(_turned_upright(image)), (size, size), Image.Resampling.BICUBIC
            )
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(
            f"{file} is neither PNG nor JPEG, whatever its suffix: convert it to one of them"
        ) from None
    except Exception as error:  # The decoders of Pillow raise errors of many types.
        raise DataError(
            f"{file} cannot be read ({error}): replace it by a whole PNG or JPEG file"
        ) from None


def _turned_upright(image: Image.Image) -> Image.Image:
    """Apply the orientation of the EXIF data; damaged EXIF data count as none."""
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # Pillow raises errors of many types here too.
        return image
    if not isinstance(orientation, int) or orientation not in TO_UPRIGHT:
        return image
    return image.transpose(TO_UPRIGHT[orientation])


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    """Convert to 8 bits, without transparency: to mode L if the image is grey, else to RGB."""
    if image.mode.startswith("I;16"):
        return _grey_of_16_bits(image)
    is_grey = image.mode in ("L", "1", "LA")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("L" if is_grey else "RGB")


def _grey_of_16_bits(image: Image.Image) -> Image.Image:
    """Keep the upper 8 of 16 bits; Pillow's own conversion would clip every value to 255."""
    levels = np.asarray(image)
    upper = (levels >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")  # One level of grey, or None.
    if transparent is not None:
        upper = np.where(levels == transparent, np.uint8(255), upper)
    return Image.fromarray(upper)
