"""Digits in scenes: each kind against what it should do to a picture."""

from types import SimpleNamespace

import numpy as np
import pytest
from square_pictures import square_pictures

from experiments.common import mnist, scenes
from experiments.common.errors import InputError
from experiments.common.scenes import SCENES, SceneBatches, Scenes

EDGE = 42


def blobs(count, edge=28):
    """Pictures with a soft blob off the middle, the further the higher the number."""
    rows, columns = np.indices((edge, edge)) - (edge - 1) / 2
    pictures = [255 * np.exp(-((rows - k % 5) ** 2 + (columns + 3) ** 2) / 8) for k in range(count)]
    return mnist.Part(np.array(pictures).astype("uint8"), np.arange(count, dtype="int32") % 10)


def drawn(kind, count=40, part="train"):
    return Scenes(blobs(count), kind, EDGE, part).batch(range(count))[0].astype(float)


def centre(picture):
    """Row and column of the centre of mass, from the middle of the picture."""
    rows, columns = np.indices(picture.shape) - (np.array(picture.shape)[:, None, None] - 1) / 2
    return np.array([(picture * rows).sum(), (picture * columns).sum()]) / picture.sum()


def test_a_rotated_digit_keeps_its_distance_from_the_middle_and_its_ink():
    digits = blobs(40).pictures.astype(float)
    angles = []
    for digit, scene in zip(digits, drawn("rotated"), strict=True):
        before, after = centre(digit), centre(scene)
        assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(before), abs=0.1)
        assert scene.sum() == pytest.approx(digit.sum(), rel=0.05)
        angles.append(np.rad2deg(np.angle(complex(*after) / complex(*before))))
    assert max(np.abs(angles)) <= 92 and max(angles) > 45 and min(angles) < -45


def test_a_moved_digit_is_scaled_and_anywhere_but_whole():
    digits = blobs(40).pictures.astype(float)
    scenes = drawn("moved")
    scale = np.sqrt(scenes.sum(axis=(1, 2)) / digits.sum(axis=(1, 2)))
    assert scale.min() == pytest.approx(0.7, abs=0.1) and scale.max() == pytest.approx(1.2, abs=0.1)
    centres = np.array([centre(scene) for scene in scenes])
    assert (np.ptp(centres, axis=0) > 15).all()


def test_a_homography_maps_corners_to_corners():
    points = np.array([(0, 0), (0, 27), (27, 0), (27, 27)], float)
    images = points + np.random.default_rng(0).normal(0, 4, points.shape)
    told = np.c_[points, np.ones(4)] @ scenes._homography(points, images).T
    np.testing.assert_allclose(told[:, :2] / told[:, 2:], images, atol=1e-8)


def test_a_projected_digit_is_there_whatever_side_its_horizon_is_on():
    scenes = drawn("projected", 400)
    assert scenes.any(axis=(1, 2)).all()


def test_an_elastic_scene_bends_and_does_not_move_far():
    digits, bent = blobs(40).pictures.astype(float), drawn("elastic")
    margin = (EDGE - 28) // 2
    inner = bent[:, margin:-margin, margin:-margin]
    assert not np.array_equal(inner, digits)
    shifts = [np.linalg.norm(centre(a) - centre(b)) for a, b in zip(inner, digits, strict=True)]
    assert 0.3 < np.mean(shifts) < 3


def test_the_spline_passes_through_its_control_points():
    weights = scenes._spline((28, 28)).reshape(28, 28, -1)
    np.testing.assert_allclose(weights[::9, ::9].reshape(16, 16), np.eye(16), atol=1e-6)


@pytest.mark.parametrize("kind", SCENES)
def test_a_scene_follows_from_its_part_and_index(kind):
    one, again, other = (drawn(kind, 12, part) for part in ("train", "train", "test"))
    np.testing.assert_array_equal(one, again)
    assert one.min() >= 0 and one.max() > 100
    assert np.array_equal(one, other) == (kind == "plain")


def test_each_epoch_draws_other_scenes_of_the_same_digits():
    batches = SceneBatches(Scenes(blobs(12), "projected", EDGE, "train"), batch_size=12)
    (first,), (second,) = batches.epoch(0), batches.epoch(1)
    assert sorted(first % 12) == sorted(second % 12) == list(range(12))
    assert not set(first) & set(second)


def test_the_digits_of_training_alone_may_stand_in_another_scene(monkeypatch):
    corpus = mnist.Corpus(blobs(20), blobs(6), blobs(6))
    monkeypatch.setattr(scenes, "corpus_of", lambda options: corpus)

    def prepared(**changed):
        common = {"scene": "plain", "train_scene": "elastic", "edge": EDGE, "batch_size": 4, "seed": 0}
        return scenes.prepared(SimpleNamespace(**{**common, **changed}))

    found = prepared()
    assert found.shape == (28, 28)
    for batches, plain in ((found.validation, True), (found.test, True), (found.train, False)):
        pictures, _ = batches.collate(np.arange(6))
        assert (pictures == blobs(6).pictures).all() == plain
    with pytest.raises(InputError, match=r"--train-scene plain .* \(28, 28\), --scene moved of \(42, 42\)"):
        prepared(scene="moved", train_scene="plain")


def test_a_digit_that_is_larger_than_the_scene_is_refused():
    with pytest.raises(InputError, match="--edge must be at least 50, that of the digits; got 42"):
        Scenes(blobs(3, edge=50), "moved", 42, "train")


def of_corners(kind, part="train"):
    return Scenes(mnist.Part(*square_pictures(20, 2, edge=12, square=4)), kind, 30, part)


def test_a_translated_digit_is_whole_somewhere_in_black():
    drawn, labels = of_corners("translated").batch(range(20))
    digits, expected = square_pictures(20, 2, edge=12, square=4)
    np.testing.assert_array_equal(labels, expected)
    places = set()
    for scene, digit in zip(drawn, digits, strict=True):
        assert scene.shape == (30, 30) and scene.sum() == digit.sum()
        y, x = (np.flatnonzero(scene.any(axis=axis))[0] for axis in (1, 0))
        places.add((y, x))
        np.testing.assert_array_equal(np.sort(scene[scene > 0]), np.sort(digit[digit > 0]))
    assert len(places) > 10


def test_a_cluttered_scene_has_more_than_its_digit_and_hides_none_of_it():
    alone = np.count_nonzero(of_corners("translated").batch(range(20))[0])
    drawn = of_corners("cluttered").batch(range(20))[0]
    assert np.count_nonzero(drawn) > 1.5 * alone
    for scene, digit in zip(drawn, square_pictures(20, 2, edge=12, square=4)[0], strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(scene, digit.shape)
        assert (windows >= digit).all(axis=(2, 3)).any()


def test_scenes_depend_on_seed_and_index_and_each_epoch_has_others():
    first, again, other = (
        of_corners("cluttered", part).batch([3, 4])[0] for part in ("train", "train", "test")
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    batches = SceneBatches(of_corners("translated"), 20)
    (one,), (two,) = batches.epoch(0), batches.epoch(1)
    seen = {
        digit: [batches.collate(epoch[epoch % 20 == digit])[0][0] for epoch in (one, two)]
        for digit in range(20)
    }
    assert sum(not np.array_equal(*pair) for pair in seen.values()) > 15
    assert sorted(one % 20) == list(range(20))
