"""Print the table of the ladder, or check every rung: `python -m kernels.ladder`."""

from __future__ import annotations

import argparse
import os
import sys


def main() -> int:
    """Parse the flags; return the exit code, 4 if this machine cannot compile a kernel."""
    parser = argparse.ArgumentParser(
        prog="python -m kernels.ladder",
        description="Compile the eight rungs for a GPU that need not be here, and print what each "
        "must move, its instructions, registers and spills. On a GPU, time them too.",
        epilog="examples: python -m kernels.ladder sm_80; python -m kernels.ladder --listing 3",
    )
    parser.add_argument(
        "target", nargs="?", default="sm_90", help="sm_80, sm_90 or gfx942 (default: %(default)s)"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare every rung with the reference: on the GPU, or interpreted if there is none",
    )
    parser.add_argument(
        "--listing",
        type=int,
        metavar="RUNG",
        choices=range(1, 9),
        help="print the machine code of one rung, 1 to 8, in place of the table",
    )
    given = parser.parse_args()
    try:
        import torch

        on_gpu = torch.cuda.is_available()
        if given.check and not on_gpu:
            os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported
        import triton
    except ModuleNotFoundError as error:
        print(f"{error.name} is not installed: pip install -c constraints.txt -e '.[torch]'")
        return 4
    if given.check:
        return check("cuda" if on_gpu else "cpu")
    if os.environ.get("TRITON_INTERPRET") == "1":
        print(
            "TRITON_INTERPRET = 1 makes Triton interpret kernels, not compile them: unset it",
            file=sys.stderr,
        )
        return 4
    from kernels.ladder.table import TARGETS, lines, reports

    if given.target not in TARGETS:
        parser.error(f"target {given.target} is unknown: choose from {', '.join(TARGETS)}")
    if given.listing:
        from kernels.inspection.compile import listing
        from kernels.ladder.rungs import RUNGS

        print(listing(RUNGS[given.listing - 1].launch(), TARGETS[given.target]))
        return 0
    print(f"triton {triton.__version__}, float32, instructions per element\n")
    for line in lines(given.target, reports(given.target), timing=on_gpu):
        print(line, flush=True)
    return 0


def check(device: str) -> int:
    """Compare rungs 1 to 7 with the reference, and rung 8 as the benchmark does."""
    from kernels.bench import contenders
    from kernels.ladder.rungs import RUNGS

    for rung in RUNGS[:-1]:
        rung.module.check(device)
        print(f"rung {rung.number}, {rung.adds}: as the reference", flush=True)
    contenders.check(device)
    print(f"rung {RUNGS[-1].number}, {RUNGS[-1].adds}: as the reference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
