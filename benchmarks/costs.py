"""What a large job would cost, from the measured speed of small ones.

    python benchmarks/costs.py texts 34000 --texts 1e9 --price 0.04
    python benchmarks/costs.py texts OUTPUT/_summary.json --price 0.04
    python benchmarks/costs.py sweep 15 --trials 200 --price 0.04 --heartbeat 10
    python benchmarks/costs.py sweep RUN/trials.csv --price 0.04
    python benchmarks/costs.py training --parameters 1313154 --step 0.1 --devices 8 --bandwidth 1.25e9

`texts` takes rows a second on one core, or what experiments.score wrote; `sweep` seconds of a trial on one
core, or the table of experiments.compare. --price is that of one core for an hour, in any currency.
`training` tells how much of a step on several devices the sums of the gradients take: a ring of n devices
sends 2 (n - 1) / n of the bytes of all weights from each, and here it does so twice, once to clip.
"""

import argparse
import csv
import json
from pathlib import Path

CORES = (2, 16, 128, 1024)


def texts(options):
    speed = number_or(options.speed, speed_in)
    hours = options.texts / speed / 3600
    print(f"{speed:,.0f} texts a second on a core; {options.texts:,.0f} texts take {hours:,.1f} core hours,")
    print(f"which cost {hours * options.price:,.2f}.")
    print_spans(hours)


def speed_in(file):
    summary = json.loads(file.read_text(encoding="utf-8"))
    return summary["rows"] / summary["busy_seconds"]


def number_or(text, read):
    """A number, or what `read` finds in the file of that name."""
    try:
        return float(text)
    except ValueError:
        return read(Path(text))


def sweep(options):
    mean = number_or(options.seconds, mean_seconds_in)
    hours = options.trials * mean / 3600
    print(f"{mean:,.1f} s a trial; {options.trials:,} trials take {hours:,.1f} core hours,")
    print(f"which cost {hours * options.price:,.2f}.")
    print_spans(hours, most=options.trials)
    writes = min(options.trials, CORES[-1]) / options.heartbeat
    print(f"{min(options.trials, CORES[-1]):,} workers write {writes:,.0f} heartbeats a second.")


def mean_seconds_in(file):
    with file.open(encoding="utf-8", newline="") as table:
        seconds = [float(row["seconds"]) for row in csv.DictReader(table) if row["seconds"]]
    return sum(seconds) / len(seconds)


def print_spans(hours, most=None):
    for cores in CORES:
        print(f"  on {cores:,} cores {hours / min(cores, most or cores):,.2f} hours")


def training(options):
    volume = 2 * 2 * (options.devices - 1) / options.devices * 4 * options.parameters
    seconds = volume / options.bandwidth
    step = options.step / options.devices
    print(f"each device sends {volume / 1e6:,.1f} MB a step, in {seconds * 1e3:,.1f} ms;")
    print(f"its part of the step takes {step * 1e3:,.1f} ms, so the step is at most", end=" ")
    print(f"{options.step / (step + seconds):.2f} times as fast as on one device.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    of_texts = commands.add_parser("texts")
    of_texts.add_argument("speed", metavar="SPEED")
    of_texts.add_argument("--texts", type=float, default=1e9)
    of_texts.add_argument("--price", type=float, required=True, help="of a core for an hour")
    of_texts.set_defaults(tell=texts)
    of_sweep = commands.add_parser("sweep")
    of_sweep.add_argument("seconds", metavar="SECONDS")
    of_sweep.add_argument("--trials", type=int, default=200)
    of_sweep.add_argument("--price", type=float, required=True, help="of a core for an hour")
    of_sweep.add_argument("--heartbeat", type=float, default=10, help="seconds")
    of_sweep.set_defaults(tell=sweep)
    of_training = commands.add_parser("training")
    of_training.add_argument("--parameters", type=int, required=True)
    of_training.add_argument("--step", type=float, required=True, help="seconds of a step on one device")
    of_training.add_argument("--devices", type=int, default=8)
    of_training.add_argument("--bandwidth", type=float, default=1.25e9, help="bytes a second of a device")
    of_training.set_defaults(tell=training)
    options = parser.parse_args()
    options.tell(options)


if __name__ == "__main__":
    main()
