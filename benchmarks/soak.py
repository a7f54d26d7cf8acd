"""Attacks that go on for as long as one likes. Each prints its figures and ends with status 1 on a finding.

    python benchmarks/soak.py kills --count 300       # kill -9 while a model is being exported
    python benchmarks/soak.py damage --flips 8        # damage every file of an exported model, and load it
    python benchmarks/soak.py configs --count 5000    # spoil the configs of layers at random
    python benchmarks/soak.py problems --count 5000   # the fused kernels against float64: soak_problems.py
    python benchmarks/soak.py server --messages 10000 # the server beside greedy clients: soak_server.py

The defaults are short forms, for a look after a change. `problems --first 2000` goes on where a run ended.
"""

import argparse
import collections
import concurrent.futures
import copy
import functools
import itertools
import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import subprocess
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


def partials(folder, writer=""):
    """The partial folders in a folder, of all processes or of one."""
    return [path for path in folder.iterdir() if path.match(f".*-{writer}*.partial")]


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
        if bool(partials(folder, f"{child}-")) == begun:
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
            try:
                for _ in range(draw.randrange(2)):
                    wait_for_writing(child, folder, True)
                    wait_for_writing(child, folder, False)
                wait_for_writing(child, folder, True)
                time.sleep(draw.uniform(0, window))
            except TimeoutError:  # a fork that waits for a thread which it has lost
                counts["forks that came to a stop"] += 1
            end(child)
            counts["kills within it" if partials(folder, f"{child}-") else "kills after it"] += 1
            if len(partials(folder)) > 1:
                findings.append(f"{len(partials(folder))} partial folders are left after a kill")
            if counts["kills within it"] % 50 == 0:
                print(f"so far {told(counts)}, {len(findings)} findings", flush=True)
        keras_gates.export(model, folder / "last", ())
        if partials(folder):
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


# -- configs

POPEN = {"module": "subprocess", "class_name": "Popen", "config": {"args": "exit", "shell": True}}
SYSTEM = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
LAMBDA = {"class_name": "__lambda__", "config": {"value": ["4wEAAAA=", None, None]}}
HALF = [{"class_name": name, "config": {}} for name in ("Nope", "__keras_tensor__", "__slice__")]
SPOILED = [None, True, -1, 0, 10**30, 2**31, 1e308, float("nan"), "", "x", "../x", [], [1], {}, {"a": 1},
           {"class_name": 3, "config": 3}, POPEN, SYSTEM, LAMBDA, *HALF]  # fmt: skip

RUNS_CODE = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class")


def sound_layers():
    cells = [cell(4) for cell in keras_gates.cell_classes().values()]
    wrappers = [keras_gates.ResidualCell(cells[0]), keras_gates.ZoneoutCell(cells[0])]
    looking = keras_gates.AttentionRNN(keras_gates.BahdanauCell(cells[0]))
    layers = [keras_gates.RNN(cells[:2]), looking, keras_gates.LSTM(4), keras_gates.AttentionPooling(4)]
    return [*cells, *wrappers, *layers]


def places_in(value, place=()):
    """The paths of keys to everything in a config."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*place, key)
            yield from places_in(inner, (*place, key))


def spoil(config, draw):
    """A copy of a config in which something is replaced, nested, removed or added; and what."""
    config = copy.deepcopy(config)
    *outer, key = draw.choice(list(places_in(config)))
    holder = functools.reduce(lambda inner, name: inner[name], outer, config)
    change = draw.choice(["replace", "replace", "replace", "nest", "remove", "add"])
    if change == "remove":
        del holder[key]
    elif change == "nest":
        for _ in range(draw.choice([1, 3, 100, 2000])):
            holder[key] = draw.choice([[holder[key]], {"a": holder[key]}])
    else:
        holder[key if change == "replace" else "added"] = draw.choice(SPOILED)
    return config, f"{change} {'/'.join(map(str, [*outer, key]))}"


def too_slow(*_):
    raise TimeoutError("it took more than 20 s")


def configs(options):
    """Spoil the configs of layers and cells at random, and make layers of them.

    What comes of it is a layer, or a TypeError or ValueError of one line; within 20 s; and nothing is run.
    """
    findings, counts, draw, ran = [], collections.Counter(), random.Random(options.seed), []
    sys.addaudithook(lambda event, _: ran.append(event) if event in RUNS_CODE else None)
    signal.signal(signal.SIGALRM, too_slow)
    layers = sound_layers()
    for _ in range(options.count):
        layer = draw.choice(layers)
        config, what = spoil(layer.get_config(), draw)
        what = f"{type(layer).__name__}, {what}"
        signal.alarm(20)
        try:
            type(layer).from_config(config)
            counts["are taken"] += 1
        except (TypeError, ValueError) as error:
            counts["are refused"] += 1
            if "\n" in str(error) or len(str(error)) > 1000:
                findings.append(f"{what}: more than a line: {error}")
        except BaseException as error:
            findings.append(f"{what}: {type(error).__name__}: {error}")
        finally:
            signal.alarm(0)
        if ran:
            findings.append(f"{what}: it caused {', '.join(ran)}")
            ran.clear()
    print(f"of {options.count} spoiled configs {told(counts)}")
    return findings


# -- attacks with scripts of their own


def problems(options):
    """Solve random problems with the kernels; `soak_problems.py` tells how they are judged."""
    return attacked_by("soak_problems.py", count=options.count, first=options.first, seed=options.seed)


def server(options):
    """Send messages to the server beside greedy clients; `soak_server.py` tells the figures."""
    return attacked_by("soak_server.py", messages=options.messages)


def attacked_by(script, **options):
    """The findings of a script of its own: that it ended with another status than 0."""
    words = [f"--{name}={value}" for name, value in options.items()]
    path = pathlib.Path(__file__).with_name(script)
    ended = subprocess.run([sys.executable, path, *words], check=False)
    return [f"{script} ended with {ended.returncode}"] if ended.returncode else []


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    attacks = parser.add_subparsers(required=True, metavar="attack")

    def add(name, attack, **sizes):
        one = attacks.add_parser(name, help=attack.__doc__.splitlines()[0])
        for size, (default, what) in {"seed": (0, "of the draws"), **sizes}.items():
            one.add_argument(f"--{size}", type=int, default=default, help=f"{what} (default: %(default)s)")
        one.set_defaults(attack=attack)

    add("kills", kills, count=(10, "kills that hit the writing"), units=(64, "units of the model"))
    add("damage", damage_all, flips=(2, "flipped bytes in each file"))
    add("configs", configs, count=(200, "spoiled configs"))
    add("problems", problems, count=(50, "problems"), first=(0, "number of the first problem"))
    add("server", server, messages=(200, "messages of a polite client"))
    options = parser.parse_args(arguments)
    findings = options.attack(options)
    for finding in findings:
        print("FINDING", finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
