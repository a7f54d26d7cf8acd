"""`python -m keras_gates`: a table of the cells, with parameters per unit and the source of the equations."""

import argparse

from keras_gates.cells.base import cell_classes


def table(units=64, features=64):
    """Every cell, one line each: short name, class, parameters per unit, source of the equations."""
    rows = [("name", "class", "parameters per unit", "source")]
    rows += [
        (name, cell.__name__, f"{cell.parameters_per_unit(units, features):.1f}", cell.source)
        for name, cell in cell_classes().items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m keras_gates", description="List the cells.")
    parser.add_argument("--units", type=int, default=64, help="units of a cell (64)")
    parser.add_argument("--features", type=int, default=64, help="features of its input (64)")
    options = parser.parse_args(arguments)
    if min(options.units, options.features) < 1:
        parser.error(f"--units and --features must be positive; got {options.units} and {options.features}.")
    try:
        print(table(options.units, options.features))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
