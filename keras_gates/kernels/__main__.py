"""Kernels at the command line.

`python -m keras_gates.kernels` gets the kernels, tests them and reports; it exits with 1 if there are none.
`python -m keras_gates.kernels wheel PURE.whl --out FOLDER` adds compiled kernels to a wheel of this package.
"""

import argparse
import logging
import sys


def main():
    parser = argparse.ArgumentParser(prog="python -m keras_gates.kernels")
    parser.set_defaults(run=report)
    adding = parser.add_subparsers().add_parser("wheel", help="add compiled kernels to a wheel")
    adding.add_argument("pure", metavar="PURE.whl", help="as `pip wheel --no-deps .` makes it")
    adding.add_argument("--out", metavar="FOLDER", required=True, help="where to write the new wheel")
    adding.set_defaults(run=add_to_wheel)
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    return arguments.run(arguments)


def report(_):
    import keras

    from keras_gates.kernels import build, core, operation, placement, selftest

    print(f"backend: {keras.backend.backend()}")
    if placement.is_beside_gpu():
        print("loops that XLA compiles take their place beside a GPU, or any device that is not a CPU")
        return 0
    if not operation.available():
        return 1
    print(f"levels of this processor: {', '.join(build.levels())}")
    print(f"cache: {build.cache_folder()}")
    print(f"kernels of KERAS_GATES_CELLS: {', '.join(core.library().added) or 'none'}")
    print("largest relative error of values and gradients:")
    run = core.library().run_arrays
    for example, error in selftest.errors(run).items():
        print(f"  {error:.1e}  {selftest.name_of(example)}")
    print("with products in bfloat16, where the processor has them:")
    for example, error in selftest.errors(run, selftest.FEW, "bfloat16").items():
        print(f"  {error:.1e}  {selftest.name_of(example)}")
    return 0


def add_to_wheel(arguments):
    from keras_gates.kernels import build, wheel

    try:
        print(wheel.write(arguments.pure, arguments.out))
    except (build.BuildError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
