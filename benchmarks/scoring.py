"""Scores short texts by a run of experiments.sentiment on a cluster of two Ray nodes, one of which is killed.

    PYTHONPATH=. python benchmarks/scoring.py RUN

Writes Parquet files of texts, scores them with `experiments.score` on two nodes of one core each, kills one
node when half of the answers are there, and checks that each row is answered once, as
`experiments.sentiment predict` answers it. Then tells rows a second of processor time, starts included, of
the actors and of `predict`, and how the memory of the actors went. With --one it measures one scorer without
a cluster. With --actors 1 2 it only scores the files, without a loss, on so many actors of this
machine, which says something on a quiet machine alone.
"""

import argparse
import contextlib
import io
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
from ray.cluster_utils import Cluster

from experiments.score import __main__ as command
from experiments.score.pieces import files_of
from experiments.score.scorer import Scorer, items

WORDS = ["a", "the", "of", "it", "is", "was", "very", "not", "good", "bad", "boring", "great", "film", "plot"]
PIECE = 5_000  # rows of a file of answers at most


def write_texts(folder, rows, files, longest):
    random.seed(0)
    for number in range(files):
        ids = range(number * rows // files, (number + 1) * rows // files)
        texts = [" ".join(random.choices(WORDS, k=random.randint(longest // 4, longest))) for _ in ids]
        table = pyarrow.table({"id": ids, "text": texts})
        pyarrow.parquet.write_table(table, folder / f"part-{number}.parquet")


def score(folder, run, name, *options):
    given = [run, "--input", f"{folder}/part-*.parquet", "--output", str(folder / name), *options]
    with contextlib.redirect_stdout(io.StringIO()):
        if command.main(given):
            raise SystemExit(1)
    return json.loads((folder / name / "_summary.json").read_text())


def with_a_loss(folder, run, pieces):
    """The summary of scoring on two nodes, one of which is killed, and what was seen of the actors."""
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost, partial, actors = machines.add_node(num_cpus=1), folder / "lost.partial", {}

    def watch():
        is_lost = False
        while True:
            parts = len(list(partial.glob("part-*")))
            see_actors(actors, parts)
            if parts >= pieces // 2 and not is_lost:
                machines.remove_node(lost, allow_graceful=False)
                is_lost = True
            time.sleep(0.2)

    threading.Thread(target=watch, daemon=True).start()
    try:
        return score(folder, run, "lost", "--rows", str(PIECE), "--address", machines.address), actors
    finally:
        machines.shutdown()


def see_actors(actors, parts):
    """Note, by process, an actor's seconds of processor time, and its megabytes by the parts so far."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (process / "status").read_text()
            if status.startswith("Name:\tray::MapWorker") and "VmRSS:" in status:  # it has not ended
                seen = actors.setdefault(process.name, {"megabytes": {}})
                seen["megabytes"][parts] = int(status.partition("VmRSS:")[2].split()[0]) // 1024
                times = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
                seen["seconds"] = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def predicted(run, texts):
    """What `predict` answers, and the seconds of processor time it takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "experiments.sentiment", "predict", run],
        input="".join(f"{text}\n" for text in texts),
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    answers = [line.split("\t") for line in done.stdout.splitlines()]
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return [(label, float(probability)) for label, probability in answers], seconds


def check(folder, run, rows):
    """Check that each row is answered once, as `predict` does; returns the processor time of `predict`."""
    table = pyarrow.parquet.read_table(folder / "lost").sort_by("id").to_pydict()
    assert table["id"] == list(range(rows)), "each row once"
    answers, seconds = predicted(run, table["text"])
    for (label, probability), *found in zip(
        answers, table["predicted_label"], table["predicted_probability"], strict=True
    ):
        assert found[0] == label and abs(found[1] - probability) < 1e-4, (found, label, probability)
    return seconds


def by_one(folder, run):
    """Rows a second of the processor's time, by one scorer in this process, after a first piece."""
    (file, *_), form = files_of([f"{folder}/part-*.parquet"])
    pieces = form.cut(file, "text", PIECE)
    scorer = Scorer(run, "text", folder)
    for item in items(pieces, range(len(pieces))):
        began = time.process_time()
        (rows,) = scorer({name: [value] for name, value in item.items()})["rows"]
        seconds = time.process_time() - began
    return rows / seconds


def show_a_loss(folder, options):
    pieces = options.files * -(-options.rows // options.files // PIECE)
    summary, actors = with_a_loss(folder, options.run, pieces)
    busy = sum(seen["seconds"] for seen in actors.values())
    print(f"two nodes, one killed: {summary['rows']:,} rows in {summary['seconds']:.0f} s, each once;")
    print(f"{options.rows / busy:,.0f} rows a second of the actors' processor time, with their start")
    for process, seen in actors.items():
        print(f"megabytes of actor {process}, by the parts written so far: {seen['megabytes']}")
    seconds = check(folder, options.run, options.rows)
    print(f"predict answers all alike, {options.rows / seconds:,.0f} a second of its processor time")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--words", type=int, default=20, help="of the longest text; the shortest: a quarter")
    parser.add_argument("--actors", type=int, nargs="*", default=[])
    parser.add_argument("--one", action="store_true", help="no cluster: one scorer, by the processor's time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(folder, options.rows, options.files, options.words)
        if options.one:
            print(f"{by_one(folder, options.run):,.0f} rows a second of processor time")
            return
        if not options.actors:
            show_a_loss(folder, options)
        for actors in options.actors:
            some = ["--rows", str(PIECE), "--actors", str(actors)]
            summary = score(folder, options.run, f"by-{actors}", *some)
            speed = summary["rows"] / summary["seconds"]
            print(f"{actors} actors: {speed:,.0f} rows a second with the start", flush=True)


if __name__ == "__main__":
    main()
