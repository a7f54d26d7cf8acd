"""Attacks that go on for as long as one likes. Each prints its figures and ends with status 1 on a finding.

    python benchmarks/soak.py kills --count 300       # kill -9 while a model is being exported
    python benchmarks/soak.py damage --flips 12       # damage every file of an exported model, and load it

The defaults are short forms, for a look after a change.
"""

import argparse
import collections
import concurrent.futures
import functools
import itertools
import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_gates

SEED = 7


def small_model(units=4):
    """A model of numbers, the same in every process."""
    keras.utils.set_random_seed(SEED)
    return keras.Sequential(
        [keras.Input((None, 3)), keras_gates.PeepholeLSTM(units), keras.layers.Dense(2, name="last")]
    )


def small_input():
    return np.random.default_rng(SEED).normal(size=(2, 5, 3)).astype("float32")


def told(counts):
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))


# -- kills


def is_partial(path):
    return path.name.endswith(".partial")


def exporting_for_ever(model, folder):
    """The id of a process that exports a model again and again, as long as this one lives.

    It is forked: to import TensorFlow anew takes much longer than an export, which needs none of the threads
    that a fork loses.
    """
    parent, numbers, child = os.getpid(), itertools.count(), os.fork()
    if child == 0:
        try:
            while os.getppid() == parent:
                keras_gates.export(model, folder / f"model-{os.getpid()}-{next(numbers)}", ())
        finally:
            os._exit(1)
    return child


def wait_for_writing(child, folder, begun):
    """The time at which a partial folder of a process has appeared, or is gone."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        of_child = [path for path in folder.iterdir() if is_partial(path) and f"-{child}-" in path.name]
        if bool(of_child) == begun:
            return time.monotonic()
        time.sleep(0.0005)
    raise TimeoutError(f"The process {child} has not {'begun' if begun else 'ended'} to write in a minute.")


def end(child):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def seconds_of_writing(model, folder):
    child, lengths = exporting_for_ever(model, folder), []
    for _ in range(4):
        begin = wait_for_writing(child, folder, True)
        lengths.append(wait_for_writing(child, folder, False) - begin)
    end(child)
    return float(np.median(lengths[1:]))


def kills(options):
    """Kill exporting processes at random moments of their writing, and count the kills that hit it.

    Checked: what stands at a path is a whole model that answers as the one that was written; of all partial
    folders only that of the last kill is left, and none after the next export.
    """
    findings, counts, draw = [], collections.Counter(), random.Random(options.seed)
    model = small_model(options.units)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        keras_gates.export(model, folder / "first", ())
        expected = keras_gates.load(folder / "first")(small_input())
        window = seconds_of_writing(model, folder)
        while counts["kills within it"] < options.count:
            child = exporting_for_ever(model, folder)
            for _ in range(draw.randrange(3)):
                wait_for_writing(child, folder, True)
                wait_for_writing(child, folder, False)
            wait_for_writing(child, folder, True)
            time.sleep(draw.uniform(0, window))
            end(child)
            left = list(filter(is_partial, folder.iterdir()))
            counts["kills within it" if left else "kills after it"] += 1
            if len(left) > 1:
                findings.append(f"{len(left)} partial folders are left after a kill")
        keras_gates.export(model, folder / "last", ())
        if any(map(is_partial, folder.iterdir())):
            findings.append("a partial folder is left after the next export")
        for path in folder.iterdir():
            counts["whole models"] += 1
            findings += wrong_with(path, expected)
    print(f"writing takes {window * 1e3:.0f} ms; {told(counts)}")
    return findings


def wrong_with(path, expected):
    try:
        answer = keras_gates.load(path)(small_input())
    except (OSError, ValueError) as error:
        return [f"{path.name} does not load: {error}"]
    return [] if np.array_equal(answer, expected) else [f"{path.name} answers otherwise"]


# -- damage

METADATA = [b"", b"[]", b"null", b"3", b'"a"', b"true", b"NaN", b"{", b'{"a": 1', b"[" * 100_000,
            b'{"a":' * 100_000, b'{"absent": null}', b'{"absent": []}', b'{"absent": "step"}', b"\xff\xfe",
            b"\x00", "{\ud800}".encode("utf-8", "surrogatepass"), b"9" * 5000]  # fmt: skip


def put(content, path):
    path.write_bytes(content)


def become_folder(path):
    path.unlink()
    path.mkdir()


def damages(folder, flips, seed=0):
    """What can happen to the files of a folder: pairs of a description and a function that does it to a copy.

    Each file is cut at several places, gets bytes flipped at random places and a byte more, is overwritten
    with zeros and with garbage, is removed, and becomes a folder. `metadata.json` gets contents of its own.
    """
    draw = random.Random(seed)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name, content = path.relative_to(folder), path.read_bytes()
        size = len(content)
        changes = {f"cut to {kept} of {size} bytes": content[:kept] for kept in cuts(size)}
        for at in draw.sample(range(size), min(flips, size)):
            flipped = bytes([content[at] ^ 1 << draw.randrange(8)])
            changes[f"byte {at} flipped"] = content[:at] + flipped + content[at + 1 :]
        changes |= {"longer": content + b"\0", "zeros": bytes(size), "garbage": draw.randbytes(size)}
        if path.name == "metadata.json":
            changes |= {repr(text[:20].decode("latin-1")): text for text in METADATA}
        does = {what: functools.partial(put, new) for what, new in changes.items()}
        does |= {"removed": pathlib.Path.unlink, "a folder": become_folder}
        for what, do in does.items():
            yield f"{name}: {what}", functools.partial(damage, name, do)


def cuts(size):
    return sorted({0, 1, size // 4, size // 2, size * 3 // 4, size - 1} - {size})


def damage(name, do, copy):
    do(copy / name)


def answers(served):
    """All that a loaded model says: of every endpoint, and about itself."""
    x = small_input()
    outputs = {"serve": served(x), "step": served.stream(len(x)).push(x), **served.trace(x)}
    return {**{name: np.asarray(output) for name, output in outputs.items()}, "metadata": served.metadata}


def same(given, expected):
    return given.keys() == expected.keys() and all(np.array_equal(given[key], expected[key]) for key in given)


def outcome(path, expected):
    """What comes of loading a folder; what begins with "finding" must not be."""
    try:
        served = keras_gates.load(path)
    except (FileNotFoundError, ValueError) as error:
        one_line = len(str(error).splitlines()) == 1 and len(str(error)) < 1000
        return "refused" if one_line else f"finding: {type(error).__name__} of other than one line: {error}"
    except Exception as error:
        return f"finding: {type(error).__name__}: {error}"
    try:
        return "as before" if same(answers(served), expected) else "answers otherwise"
    except Exception as error:
        return f"fails when called: {type(error).__name__}"


def after_damage(whole, do, expected):
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "model"
        shutil.copytree(whole, copy)
        do(copy)
        return outcome(copy, expected)


class Worker:
    """Runs functions in a process beside this one, and goes on if that process dies."""

    def __init__(self):
        self.pool = None

    def __call__(self, function, *arguments):
        if self.pool is None:
            context = multiprocessing.get_context("spawn")
            self.pool = concurrent.futures.ProcessPoolExecutor(1, context)
        try:
            return self.pool.submit(function, *arguments).result(timeout=120)
        except concurrent.futures.process.BrokenProcessPool:
            self.pool = None
            return "ends the process"


def damage_all(options):
    """Damage every file of an exported model, and load it, with its list of digests and without.

    With the list: the model answers exactly as before, or is refused with one sentence. Without it, as in a
    SavedModel that another program wrote, what TensorFlow does not notice is counted, but not held against
    `load`; that it raises nothing else than it says is.
    """
    findings, worker = [], Worker()
    with tempfile.TemporaryDirectory() as folder:
        whole = pathlib.Path(folder) / "model"
        keras_gates.export(small_model(), whole)
        expected = answers(keras_gates.load(whole))
        for listed in (True, False):
            counts = collections.Counter()
            if not listed:
                (whole / "SHA256SUMS").unlink()
            for what, do in damages(whole, options.flips, options.seed):
                result = (after_damage if listed else functools.partial(worker, after_damage))(
                    whole, do, expected
                )
                counts[result.partition(":")[0]] += 1
                if result.startswith("finding") or (listed and result not in ("as before", "refused")):
                    findings.append(f"{what}: {result}")
            print(f"{'with' if listed else 'without'} digests: {counts.total()} damages, {told(counts)}")
    return findings


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    attacks = parser.add_subparsers(required=True, metavar="attack")
    one = attacks.add_parser("kills", help=kills.__doc__.splitlines()[0])
    one.add_argument(
        "--count", type=int, default=10, help="kills that hit the writing (default: %(default)s)"
    )
    one.add_argument("--units", type=int, default=64, help="units of the model (default: %(default)s)")
    one.set_defaults(attack=kills)
    one = attacks.add_parser("damage", help=damage_all.__doc__.splitlines()[0])
    one.add_argument("--flips", type=int, default=2, help="flipped bytes in each file (default: %(default)s)")
    one.set_defaults(attack=damage_all)
    options = parser.parse_args(arguments)
    findings = options.attack(options)
    for finding in findings:
        print("FINDING", finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
