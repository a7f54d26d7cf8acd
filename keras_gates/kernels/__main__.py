"""`python -m keras_gates.kernels`: build the kernels, test them, report; exits with 1 if there are none."""

import logging
import sys


def main():
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    import keras

    from keras_gates.kernels import build, core, operation, selftest

    print(f"backend: {keras.backend.backend()}")
    if not operation.available():
        return 1
    print(f"cache: {build.cache_folder()}")
    print("largest relative error of values and gradients:")
    for example, error in selftest.errors(core.library().run_arrays).items():
        print(f"  {error:.1e}  {selftest.name_of(example)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
