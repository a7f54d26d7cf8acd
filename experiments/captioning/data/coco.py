"""COCO's captions, through tensorflow-datasets: the split of Karpathy and Li (2015)."""

import numpy as np

from experiments.captioning.data.captioned import Captioned, Part
from experiments.captioning.data.folders import normalised
from experiments.common import prepared
from experiments.common.pictures import resized

NAME = "coco_captions"


def read(dataset, size, limit=None):
    """The pictures, resized, with their captions.

    limit: read at most so many pictures of each part.
    """
    builder = prepared.builder(dataset)
    return Captioned(
        _part(builder, "train+restval", size, limit),
        _part(builder, "val", size, limit),
        {"": _part(builder, "test", size, limit)},
    )


def _part(builder, split, size, limit):
    import tensorflow_datasets as tfds

    rows = builder.as_dataset(split=split, shuffle_files=False)
    pictures, captions = [], []
    for row in tfds.as_numpy(rows if limit is None else rows.take(limit)):
        pictures.append(resized(row["image"], size))
        texts = [normalised(text.decode()) for text in row["captions"]["text"]]
        captions.append(tuple(dict.fromkeys(filter(None, texts))))
    return Part(np.array(pictures, "uint8"), captions)
