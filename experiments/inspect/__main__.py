"""What a trained network does inside while it reads a text: `python -m experiments.inspect RUN TEXT`."""

import sys
from pathlib import Path

from experiments.common.errors import InputError
from experiments.common.options import Parser, add_cell_of_run, command_line
from experiments.common.reading import takes_paths
from experiments.common.run_folder import free_path, read_config
from experiments.common.texts import text_of
from experiments.inspect.look import look


def inspect(parser, options):
    texts = options.text
    if not takes_paths(read_config(options.run)["task"]):
        texts = [text_of([text])[0] for text in texts]
    if not all(map(str.strip, texts)):
        raise InputError("The text is empty.")
    folder = Path(options.out) if options.out else free_path(Path(options.run) / "inspection")
    if folder.exists():
        raise InputError(f"{folder} exists; give --out another name.")
    for what, unit in look(options.run, texts, folder).items():
        print(f"{what}: {unit.layer} {unit.name}[{unit.unit}], correlation {unit.correlation:.3f}")
    print(f"Open {folder / 'index.html'}")


def main(arguments=None):
    parser = Parser(
        prog="python -m experiments.inspect",
        description="Show what a trained network does inside while it reads texts: every gate and memory.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a finished run")
    parser.add_argument("text", nargs="+", metavar="TEXT", help="a text or a file; of some tasks a picture")
    parser.add_argument(
        "--out", metavar="FOLDER", help="what to write; by default the next free RUN/inspection"
    )
    add_cell_of_run(parser)
    return command_line({"inspect": (parser, inspect)}, arguments)


if __name__ == "__main__":
    sys.exit(main())
