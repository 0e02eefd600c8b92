"""A kernel from its text, for the wrong answers of sittings 9 and 12. Triton reads its source."""

from __future__ import annotations

import linecache
from functools import cache
from typing import Any


class Kernel:
    """A kernel from its text, made when it is launched, so that reading it needs no Triton."""

    def __init__(self, source: str, *changes: tuple[str, str]) -> None:
        for old, new in changes:
            assert source.count(old) == 1, old
            source = source.replace(old, new)
        self.source = source

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return made(self.source)[grid]


@cache
def made(source: str) -> Any:
    import triton
    import triton.language as tl

    from kernels.triton_normals import normals

    name, names = f"<kernel {hash(source)}>", {"tl": tl, "normals": normals}
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), names)
    (kernel,) = (value for key, value in names.items() if key.startswith("my_"))
    return triton.jit(kernel)
