"""Pictures with captions: those that a command line names."""

from experiments.captioning.data import glyphs
from experiments.common.pictures import size_of


def read(options):
    """The pictures and captions that --dataset names."""
    data = glyphs.read(size_of(options.size)).limited(options.limit)
    data.check(options.dataset)
    return data
