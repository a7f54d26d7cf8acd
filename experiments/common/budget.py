"""How many units a network may have if it is to have at most so many parameters."""

import argparse

from experiments.common.errors import InputError

MOST = 4096  # units


def units_within(options, count):
    """The largest number of units with which a network has at most `options.parameters` parameters.

    count: a function from options, with other `units`, to the number of parameters, which grows with them. A
        ValueError tells that there are too few units for the cell, as for one with modules.

    Raises `InputError` if no number of units is small enough.
    """

    def fits(units):
        tried = argparse.Namespace(**{**vars(options), "units": units})
        try:
            return count(tried) <= options.parameters
        except InputError:
            raise
        except ValueError:
            return True

    fitting, beyond = 0, 1
    while beyond <= MOST and fits(beyond):
        fitting, beyond = beyond, 2 * beyond
    while beyond - fitting > 1:
        middle = (fitting + beyond) // 2
        if fits(middle):
            fitting = middle
        else:
            beyond = middle
    if not fitting:
        raise InputError(f"--parameters {options.parameters} is too few: one unit needs more.")
    return fitting
