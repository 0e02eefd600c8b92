"""Images in a folder with one subfolder per class."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from minicfg.data import Dataset
from minicfg.datasets.arrays import check_memory, images_from_bytes, listed
from minicfg.distributed import is_first_process
from minicfg.errors import DataError, escape_controls

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
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp")


def read_folder(
    folder: Path,
    size: int,
    name: str,
    *,
    follow_links: bool = False,
    skip_bad: bool = False,
) -> Dataset:
    """Read PNG, JPEG, WebP and BMP files, scaled and cropped to `size` x `size`.

    The name of a subfolder is the name of its class. If every file is stored in greyscale, the data
    set has one channel, otherwise three. Files and folders whose name begins with a dot are
    skipped.

    Transparent pixels are laid on white. Of 16 bits per channel the upper 8 are kept. An image is
    turned upright if its EXIF data state an orientation.

    Args:
        folder: the folder with one subfolder per class.
        size: height and width of the images.
        name: the name of the data set.
        follow_links: read files outside `folder` to which a link leads.
        skip_bad: leave out files that cannot be used, and print on standard error how many there
            are and the first five. Of several processes, the first one prints this.

    Raises:
        DataError: if a class has no images, or if files are not images inside `folder`. The message
            names the first five of them.
    """
    if not folder.is_dir():
        raise DataError(
            f"{name}: {folder} is not a folder: name one that has a subfolder of images per class"
        )
    class_folders, faults = _class_folders(folder)
    files = list[Path]()
    labels = list[int]()
    for label, class_folder in enumerate(class_folders):
        of_class = _visible(class_folder)
        files += of_class
        labels += [label] * len(of_class)
    classes = tuple(path.name for path in class_folders)
    check_memory(folder, (len(files), 3, size, size), 12 * size * size)
    _check_no_class_is_empty(name, classes, labels)

    root = None if follow_links else os.path.realpath(folder)
    images = list[Image.Image]()
    y = list[int]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damaged EXIF data, and names no file.
        for file, label in zip(files, labels, strict=True):
            try:
                images.append(_read_image(file, size, root))
            except DataError as error:
                faults.append(str(error))
            else:
                y.append(label)
    if faults and not skip_bad:
        raise DataError(_in_one_line(folder, faults))
    if faults:
        if is_first_process():
            left_out = f"minicfg: {len(faults)} left out: {listed(faults, '; ')}"
            print(escape_controls(left_out), file=sys.stderr)
        _check_no_class_is_empty(name, classes, y)

    is_grey = all(image.mode == "L" for image in images)
    pixels = np.stack([np.asarray(i if is_grey else i.convert("RGB")) for i in images])
    return Dataset(
        x=images_from_bytes(pixels[:, None] if is_grey else pixels.transpose(0, 3, 1, 2)),
        y=torch.tensor(y),
        classes=classes,
        name=name,
    )


def _visible(folder: Path) -> list[Path]:
    """Return what the folder contains, in order of name, without names that begin with a dot."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _class_folders(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the subfolders, and one sentence for each file that stands beside them."""
    class_folders = list[Path]()
    faults = list[str]()
    for path in _visible(folder):
        if path.is_dir():
            class_folders.append(path)
        else:
            faults.append(
                f"{path} is not a folder, but {folder} must have one subfolder per class and "
                "nothing else: move the file away"
            )
    return class_folders, faults


def _check_no_class_is_empty(name: str, classes: Sequence[str], labels: Sequence[int]) -> None:
    present = set(labels)
    empty = [class_name for label, class_name in enumerate(classes) if label not in present]
    if not labels or empty:
        which = f" of {listed(empty)}" if empty else ""
        raise DataError(
            f"{name}: there are no images{which}: put at least one PNG, JPEG, WebP or BMP file "
            "into the subfolder of each class"
        )


def _in_one_line(folder: Path, faults: Sequence[str]) -> str:
    what = faults[0]
    if len(faults) > 1:
        what = f"{len(faults)} files in {folder} cannot be used: {listed(faults, '; ')}"
    return f"{what} (skip_bad=True, or --skip-bad on the command line, leaves such files out)"


def _read_image(file: Path, size: int, root: str | None) -> Image.Image:
    """Read one image, scale it and crop its centre to a square; mode L if it is grey, else RGB.

    A file outside `root` is refused, unless `root` is None.
    """
    # realpath also ends where links form a loop.
    if root is not None and not Path(os.path.realpath(file)).is_relative_to(root):
        raise DataError(
            f"{file} leads out of {root} by a link: put the image itself there, or follow links "
            "with follow_links=True (--follow-links on the command line)"
        )
    if not file.is_file() or file.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"{file} is not an image file: move it away, or store it as one of "
            f"{', '.join(SUFFIXES)}"
        )
    try:
        with file.open("rb") as stream, Image.open(stream, formats=FORMATS) as image:
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
            f"{file} is not a PNG, JPEG, WebP or BMP image, whatever its suffix: convert it to one"
        ) from None
    except Exception as error:  # The decoders of Pillow raise errors of many types.
        raise DataError(f"{file} cannot be read ({error}): replace it by a whole copy") from None


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
