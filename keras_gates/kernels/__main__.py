"""`python -m keras_gates.kernels`: build the kernels, test them, report; exits with 1 if there are none."""

import logging
import sys


def main():
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    import tensorflow as tf

    from keras_gates.kernels import build, operation, selftest

    threads = tf.config.threading.get_intra_op_parallelism_threads() or "all"
    print(f"TensorFlow {tf.version.VERSION}, {threads} threads")
    if not operation.available():
        return 1
    print(f"cache: {build.cache_folder()}")
    print("largest relative error of values and gradients:")
    for example, error in selftest.errors(operation.library(), operation.guard()).items():
        print(f"  {error:.1e}  {selftest.name_of(example)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
