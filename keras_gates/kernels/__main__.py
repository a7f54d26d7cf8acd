"""`python -m keras_gates.kernels`: build the kernels, test them, report. Exits with 1 where there are none."""

import logging
import sys


def main():
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    import tensorflow as tf

    from keras_gates.kernels import build, operation, selftest

    print(
        f"TensorFlow {tf.version.VERSION}, {tf.config.threading.get_intra_op_parallelism_threads() or 'all'} threads"
    )
    if not operation.available():
        return 1
    print(f"cache: {build.cache_folder()}")
    for case in selftest._CASES:
        error = selftest.worst_error(operation._library(), operation.guard(), case)
        print(f"{error:.1e}  {' '.join(map(str, case.values()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
