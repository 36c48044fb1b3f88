"""Series against numpy and scipy, on ragged data."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import linregress

from mmgraph.encoders.cache import FeatureCache
from mmgraph.encoders.series import MAX_STEPS, Series, SeriesSummary, read_series, series_bytes
from mmgraph.errors import ArtifactError, ConfigError, DataError

RAGGED = [[[1.0, 10.0], [2.0, 20.0], [4.0, 30.0]], [[3.0, 50.0]], [[0.0, 0.0], [1.0, 10.0]]]
TIMED = [[[0.0, 5.0], [1.5, 7.0], [1.5, 8.0]], [[100.0, 6.0]]]
numbers = st.floats(-1e6, 1e6, width=32)


def test_steps_are_scaled_by_column_and_padded_with_nan():
    encoder = Series.fit(RAGGED)
    found = encoder(RAGGED)
    assert (found.shape, encoder.shape, found.dtype) == ((3, 3, 2), (3, 2), torch.float32)
    together = np.concatenate([np.array(one) for one in RAGGED])
    for row, one in enumerate(RAGGED):
        expected = (np.array(one) - together.mean(axis=0)) / together.std(axis=0)
        np.testing.assert_allclose(found[row, : len(one)], expected, atol=1e-6)
        assert found[row, len(one) :].isnan().all()


@given(st.lists(st.lists(numbers, min_size=1, max_size=9), min_size=1, max_size=9))
def test_all_steps_come_back(payloads):
    encoder = Series.fit(payloads)
    found = encoder(payloads) * encoder.state()["deviation"] + encoder.state()["mean"]
    largest = max(abs(number) for payload in payloads for number in payload)
    for row, payload in enumerate(payloads):
        there = found[row, :, 0][~found[row, :, 0].isnan()]
        np.testing.assert_allclose(there, payload, atol=1e-6 * largest)


def test_times_become_gaps():
    encoder = Series.fit(TIMED, times=True)
    assert encoder.shape == (3, 2)
    state = encoder.state()
    found = encoder(TIMED) * state["deviation"] + state["mean"]
    np.testing.assert_allclose(found[0], [[0, 5], [1.5, 7], [0, 8]], atol=1e-6)
    np.testing.assert_allclose(found[1, 0], [0, 6], atol=1e-6)
    later = [[time + 1000, value] for time, value in TIMED[0]]
    assert torch.equal(encoder([later]), encoder([TIMED[0]]))


def test_a_series_that_is_too_long_is_refused_or_cut_to_its_end():
    with pytest.raises(DataError, match=r"Payload 0 .*at most 2 steps, got 3; fit with more max_steps, or with cut"):
        Series.fit([[1.0, 2.0]])([[1.0, 2.0, 3.0]])
    cut = Series.fit([[1.0, 2.0]], max_steps=2, cut=True)
    assert torch.equal(cut([[9.0, 2.0, 3.0]]), cut([[2.0, 3.0]]))
    timed = Series.fit(TIMED, max_steps=1, times=True, cut=True)
    whole = Series.fit(TIMED, times=True)
    assert torch.equal(timed([TIMED[0]])[0, 0], whole([TIMED[0]])[0, 2])  # the gap before it is known


def test_constant_columns_are_zeros():
    assert (Series.fit([[3.0, 3.0], [3.0]])([[3.0]])[0, 0] == 0).all()


@pytest.mark.parametrize(
    ("encoder", "options", "payloads"),
    [
        (Series, {}, RAGGED),
        (Series, {"max_steps": 5, "cut": True}, RAGGED),
        (Series, {"times": True}, TIMED),
        (SeriesSummary, {}, RAGGED),
        (SeriesSummary, {"parts": 3, "times": True}, TIMED),
    ],
)
def test_what_was_fitted_is_restored_and_kept_in_the_cache(encoder, options, payloads, tmp_path):
    fitted = encoder.fit(payloads, **options)
    restored = encoder.restore(options, fitted.state())
    assert restored.identity == fitted.identity
    cache = FeatureCache(tmp_path)
    first = fitted(payloads, cache=cache)
    done = restored.attempt(payloads, cache=cache)
    assert (done.cached, done.made) == (len(payloads), 0)
    assert torch.equal(done.features.nan_to_num(77), first.nan_to_num(77))
    assert fitted.identity != encoder.fit([[[1.0, 2.0]]], **options).identity


def test_options_are_in_the_identity():
    payloads = [[[1.0, 2.0]]]
    made = [Series.fit(payloads, times=times, cut=cut) for times in (False, True) for cut in (False, True)]
    made += [SeriesSummary.fit(payloads, parts=parts) for parts in (3, 4)]
    assert len({one.identity.digest for one in made}) == 6


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        ("1 2 3", "must be a list of numbers or of lists of numbers, got str"),
        (None, "got NoneType"),
        ([], r"at least 1 step with a number, got \[0\]"),
        ([[], []], r"at least 1 step with a number, got \[2, 0\]"),
        ([1, None], "leave out steps that are missing; got object"),
        (["1", "2"], "must be numbers, .*got str"),
        ([True, False], "must be numbers, .*got bool"),
        ([[[1.0]]], "in 3 dimensions"),
        ([[1, 2], [3]], "lists of different lengths"),
        ([1.0, float("nan")], r"finite numbers below 1e30, got \[nan\] at step 1"),
        ([1.0, 2.0, float("inf")], r"got \[inf\] at step 2"),
        ([1e31], r"got \[1e\+31\] at step 0"),
        ([10**400], "must be numbers, .*got object"),
        (np.zeros(MAX_STEPS + 1), f"at most {MAX_STEPS} steps"),
        (3 + 0j, "got complex"),
        (np.array([1j]), "got complex128"),
    ],
)
def test_what_is_no_series_is_refused_by_value(payload, value):
    with pytest.raises(DataError, match=value):
        series_bytes(payload)
    with pytest.raises(DataError, match=f"Series 0 can't be fitted on: .*{value}"):
        Series.fit([payload])
    assert Series.fit([[1.0]]).attempt([payload]).rejected


def test_columns_and_times_are_checked():
    with pytest.raises(DataError, match=r"Payload 0 .* steps of 2 numbers, got 1 of 3"):
        Series.fit(RAGGED)([[[1.0, 2.0, 3.0]]])
    with pytest.raises(DataError, match=r"Series 1 can't be fitted on: .*of 1 numbers, got 1 of 2"):
        Series.fit([[1.0], [[1.0, 2.0]]])
    for bad in ([[1.0, 0.0], [0.5, 0.0]], [1.0, 2.0]):
        with pytest.raises(DataError, match=r"in ascending order of time, got [12] numbers a step and the times \[1.0"):
            read_series(bad, times=True)
    with pytest.raises(DataError, match="at least 1 series to fit on, got 0"):
        Series.fit([])


def test_bad_options_and_states_are_refused():
    for steps in (0, MAX_STEPS + 1):
        with pytest.raises(ConfigError, match=f"from 1 to {MAX_STEPS}, got {steps}"):
            Series.fit([[1.0]], max_steps=steps)
    with pytest.raises(ConfigError, match="parts must be at least 1, got 0"):
        SeriesSummary.fit([[1.0]], parts=0)
    with pytest.raises(ArtifactError, match=r"\['mean', 'deviation', 'steps'\], got \['mean'\]; fit it anew"):
        Series({"mean": torch.zeros(1)})
    state = SeriesSummary.fit([[1.0]]).state()
    with pytest.raises(ArtifactError, match="of 14 features, got 27"):
        SeriesSummary(state, parts=3)


def raw(encoder, payloads):
    return encoder(payloads).double().numpy() * encoder.state()["deviation"].numpy() + encoder.state()["mean"].numpy()


def test_the_features_are_those_of_numpy_and_scipy():
    rng = np.random.default_rng(0)
    payloads = [rng.normal(size=(size, 2)) * [1, 5] + [0, 2] for size in (9, 4, 17, 30)]
    encoder = SeriesSummary.fit(payloads, parts=4)
    assert encoder.shape == (1 + 2 * 10 + 2 * 4,)
    found = raw(encoder, payloads)
    for row, one in enumerate(payloads):
        place = np.linspace(0, 1, len(one))
        slope = [linregress(place, one[:, column]).slope for column in range(2)]
        quantiles = np.quantile(one, [0.1, 0.25, 0.5, 0.75, 0.9], axis=0)
        expected = [[np.log(len(one))], one.mean(0), one.std(0), one.min(0), one.max(0), slope, *quantiles]
        np.testing.assert_allclose(found[row, :21], np.concatenate(expected), atol=1e-5)
    quarters = (payloads[1] - payloads[1].mean(0)).T.ravel()  # 4 steps to 4 parts
    np.testing.assert_allclose(found[1, 21:], quarters, atol=1e-5)


def test_irregular_steps_count_by_their_time():
    even = [[float(time), np.sin(time)] for time in range(40)]
    thinned = [step for step in even if step[0] < 10 or step[0] % 3 == 0]
    encoder = SeriesSummary.fit([even, [[0.0, 1.0], [3.0, 0.0]]], times=True, parts=4)
    found = raw(encoder, [even, thinned])
    assert encoder.shape == (2 + 10 + 4,)
    np.testing.assert_allclose(found[0, 1], np.log1p(39), atol=1e-5)
    line = linregress([time / 39 for time, _ in even], [value for _, value in even])
    np.testing.assert_allclose(found[0, 6], line.slope, atol=1e-5)
    course = np.interp(np.linspace(0, 39, 16), [t for t, _ in even], [v for _, v in even]).reshape(4, 4).mean(axis=1)
    np.testing.assert_allclose(found[0, 12:], course - np.mean([v for _, v in even]), atol=1e-5)
    assert raw(encoder, [[[5.0, 2.0], [5.0, 4.0]]])[0, 1] == pytest.approx(0, abs=1e-6)  # no time passes


def test_features_are_scaled_and_bounded_and_a_course_counts_as_one():
    rng = np.random.default_rng(0)
    payloads = [rng.normal(size=rng.integers(5, 40)) for _ in range(200)]
    encoder = SeriesSummary.fit(payloads)
    found = encoder(payloads).double()
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(27).double(), atol=0.05, rtol=0)
    torch.testing.assert_close(found[:, :11].var(dim=0, correction=0), torch.ones(11).double(), atol=0.1, rtol=0)
    assert abs(found[:, 11:].var(dim=0, correction=0).sum() - 1) < 0.1
    assert encoder([[1e9, -1e9]]).abs().max() == 10
    assert encoder([[3.0]]).isfinite().all()
