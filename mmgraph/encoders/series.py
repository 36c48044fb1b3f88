"""Series of numbers over time: as steps for encoders that are trained, and by features that say how they run."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from mmgraph.encoders.frozen import Frozen, digest_of_state
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.functional import stretch
from mmgraph.schema import Identity, Modality

Numbers = Sequence[float] | Sequence[Sequence[float]] | np.ndarray
MAX_STEPS = 1 << 20
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


class Series(Frozen[Numbers, np.ndarray]):
    r"""Series to steps, ``[max_steps, columns]``, for encoders that are trained with the graph; fitted.

    A payload is a list of numbers, or a list of equally long lists, one a step. With ``times`` the first number of
    each step is its time, in ascending order; the steps then get a first column with the time since the step before
    (0 for the first), and may lie irregularly. Each column is brought to mean 0 and deviation 1 of the payloads that it
    was fitted on. After the end of a series stands NaN.

    Args:
        state: What was fitted: use :meth:`fit`, or :meth:`restore` what :meth:`state` gave.
        times: Whether each step begins with its time.
        cut: Whether a series that is too long is cut to its last steps, rather than refused.

    Raises:
        ArtifactError: The state is not one of a ``Series``.

    Example:
        >>> encoder = Series.fit([[1.0, 3.0], [2.0]])
        >>> encoder([[3.0, 1.0], [2.0]]).squeeze(2)
        tensor([[ 1.2247, -1.2247],
                [ 0.0000,     nan]])
        >>> Series.fit([[[0.0, 5.0], [1.5, 7.0]]], times=True).shape
        (2, 2)
    """

    modality = Modality.SERIES
    attribute = "steps"

    def __init__(self, state: Mapping[str, Tensor], *, times: bool = False, cut: bool = False) -> None:
        _check_state(state, "mean", "deviation", "steps")
        self._state, self._times, self._cut = dict(state), times, cut
        self._centre, self._scale = state["mean"].double().numpy(), state["deviation"].double().numpy()
        self.shape = (int(state["steps"]), len(self._centre))
        self.identity = Identity(name="series", revision=digest_of_state(state), options={"times": times, "cut": cut})

    @classmethod
    def fit(
        cls, payloads: Iterable[Numbers], *, max_steps: int | None = None, times: bool = False, cut: bool = False
    ) -> Self:
        """Fits the scale of each column, and how many there are, on some series: those of the training samples alone.

        Args:
            payloads: Series with equally many numbers a step.
            max_steps: The longest series; ``None`` for the longest of these.
            times: Whether each step begins with its time.
            cut: Whether a series that is too long is cut to its last steps, rather than refused.

        Raises:
            DataError: There is no series, or one that can't be read.
            ConfigError: Less than one step.
        """
        if max_steps is not None and not 1 <= max_steps <= MAX_STEPS:
            raise ConfigError(f"max_steps must be from 1 to {MAX_STEPS}, got {max_steps}")
        found = [_gaps(one) if times else one for one in _all(payloads, times)]
        together = np.concatenate(found)  # [steps of all, columns]
        deviation = together.std(axis=0)
        state = {
            "mean": torch.from_numpy(together.mean(axis=0)),
            "deviation": torch.from_numpy(np.where(deviation > 1e-12, deviation, 1.0)),
            "steps": torch.tensor(max_steps or max(map(len, found))),
        }
        return cls(state, times=times, cut=cut)

    @classmethod
    def restore(cls, options: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """The encoder of some options of :meth:`fit`, and of what was fitted with them."""
        return cls(state, times=options.get("times", False), cut=options.get("cut", False))

    def state(self) -> dict[str, Tensor]:
        """The scale of each column, and the number of steps."""
        return dict(self._state)

    def content(self, payload: Numbers) -> bytes:
        """Shape and numbers."""
        return series_bytes(payload)

    def prepare(self, payload: Numbers) -> np.ndarray:
        """The scaled steps of one series, ``[steps, columns]``."""
        steps = read_series(payload, channels=self.shape[1], times=self._times)
        if len(steps) > self.shape[0] and not self._cut:
            raise DataError(
                f"a series must have at most {self.shape[0]} steps, got {len(steps)}; "
                "fit with more max_steps, or with cut=True for the last ones"
            )
        if self._times:
            steps = _gaps(steps)
        return ((steps[-self.shape[0] :] - self._centre) / self._scale).astype(np.float32)

    def encode(self, prepared: list[np.ndarray]) -> Tensor:
        """Pads the steps: ``[series, max_steps, columns]``."""
        found = torch.full((len(prepared), *self.shape), float("nan"))
        for row, steps in enumerate(prepared):
            found[row, : len(steps)] = torch.from_numpy(steps)
        return found


class SeriesSummary(Frozen[Numbers, np.ndarray]):
    """Series of any length to vectors, by features of each channel; fitted.

    For each channel mean, deviation, least and largest value, slope of the least squares line (over its whole length),
    the quantiles .1, .25, .5, .75 and .9, and its course, less its mean, stretched to some parts; and the logarithm of
    the number of steps, with ``times`` also that of the duration. Each feature is brought to mean 0 and deviation 1 of
    the payloads that it was fitted on, within ±10; the course of a channel counts as much as one other feature.

    With ``times``, steps may lie irregularly: slope and course are over time, and the course is interpolated.

    Args:
        state: What was fitted: use :meth:`fit`, or :meth:`restore` what :meth:`state` gave.
        parts: Of the course.
        times: Whether each step begins with its time.

    Raises:
        ArtifactError: The state is not one of these options.

    Example:
        >>> encoder = SeriesSummary.fit([[0, 1, 2], [2, 1, 0], [5, 5, 5, 5]])
        >>> up, faster, down = encoder([[0, 1, 2], [0, 0.9, 2.1], [2, 1, 0]])
        >>> bool(up @ faster > up @ down)
        True
    """

    modality = Modality.SERIES

    def __init__(self, state: Mapping[str, Tensor], *, parts: int = 16, times: bool = False) -> None:
        _check_state(state, "mean", "deviation", "channels")
        self._channels, self._parts, self._times = int(state["channels"]), parts, times
        self.shape = (_num_features(self._channels, parts, times),)
        if state["mean"].shape != self.shape or state["deviation"].shape != self.shape:
            raise ArtifactError(f"The state must be of {self.shape[0]} features, got {len(state['mean'])}; fit it anew")
        self._state = dict(state)
        self._centre, self._scale = state["mean"].numpy(), state["deviation"].numpy()
        self.identity = Identity(
            name="series_summary", revision=digest_of_state(state), options={"parts": parts, "times": times}
        )

    @classmethod
    def fit(cls, payloads: Iterable[Numbers], *, parts: int = 16, times: bool = False) -> Self:
        """Fits the scale of each feature on some series: those of the training samples alone.

        Raises:
            DataError: There is no series, or one that can't be read.
            ConfigError: Less than one part.
        """
        if parts < 1:
            raise ConfigError(f"parts must be at least 1, got {parts}")
        found = _all(payloads, times)
        features = np.stack([_features(one, parts, times) for one in found])
        channels = found[0].shape[1] - times
        deviation = features.std(axis=0)
        courses = deviation[-channels * parts :].reshape(channels, parts)
        courses[:] = np.sqrt((courses**2).sum(axis=1, keepdims=True))  # all parts of a course count as one feature
        state = {
            "mean": torch.from_numpy(features.mean(axis=0)),
            "deviation": torch.from_numpy(np.where(deviation > 1e-12, deviation, 1.0)),
            "channels": torch.tensor(channels),
        }
        return cls(state, parts=parts, times=times)

    @classmethod
    def restore(cls, options: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """The encoder of some options of :meth:`fit`, and of what was fitted with them."""
        return cls(state, **options)

    def state(self) -> dict[str, Tensor]:
        """The scale of each feature, and the number of channels."""
        return dict(self._state)

    def content(self, payload: Numbers) -> bytes:
        """Shape and numbers."""
        return series_bytes(payload)

    def prepare(self, payload: Numbers) -> np.ndarray:
        """The features of one series, ``[channels]``."""
        steps = read_series(payload, channels=self._channels + self._times, times=self._times)
        scaled = (_features(steps, self._parts, self._times) - self._centre) / self._scale
        return scaled.clip(-10, 10).astype(np.float32)

    def encode(self, prepared: list[np.ndarray]) -> Tensor:
        """Stacks the features: ``[series, channels]``."""
        return torch.from_numpy(np.stack(prepared))


def read_series(payload: object, *, channels: int | None = None, times: bool = False) -> np.ndarray:
    """The numbers of a series, float64 ``[steps, columns]``.

    Args:
        payload: A list of numbers, or of equally long lists of numbers, or an array.
        channels: Columns that it must have; ``None`` for any.
        times: Whether the first column is the time, which must ascend.

    Raises:
        DataError: It is no such list, has no step or too many, or another number of columns, or holds something else
            than finite numbers.

    Example:
        >>> read_series([1, 2.5]).tolist()
        [[1.0], [2.5]]
        >>> read_series([1, None])
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: a series must be numbers, ... got ...
    """
    if not isinstance(payload, list | tuple | np.ndarray):
        raise DataError(f"a series must be a list of numbers or of lists of numbers, got {type(payload).__name__}")
    try:
        steps = np.asarray(payload)
    except (ValueError, OverflowError):
        raise DataError(
            "a series must have equally many numbers in each step, got lists of different lengths"
        ) from None
    if not steps.size:
        raise DataError(f"a series must have at least 1 step with a number, got {list(steps.shape)}")
    if steps.dtype.kind not in "iuf" or steps.ndim not in (1, 2):
        raise DataError(
            "a series must be numbers, in a list or in a list of lists, leave out steps that are missing; "
            f"got {steps.dtype.name} in {steps.ndim} dimensions: {str(payload)[:40]}"
        )
    steps = steps.astype(np.float64).reshape(len(steps), -1)  # [steps, columns]
    if len(steps) > MAX_STEPS or (channels is not None and steps.shape[1] != channels):
        raise DataError(
            f"a series must have at most {MAX_STEPS} steps of {channels or 'equally many'} numbers, "
            f"got {len(steps)} of {steps.shape[1]}"
        )
    if not (finite := np.isfinite(steps).all(axis=1) & (np.abs(steps) < 1e30).all(axis=1)).all():
        place = int((~finite).argmax())
        raise DataError(f"a series must be finite numbers below 1e30, got {steps[place].tolist()} at step {place}")
    if times and (steps.shape[1] < 2 or (np.diff(steps[:, 0]) < 0).any()):
        raise DataError(
            "a series with times must be [time, value, …] in ascending order of time, got "
            f"{steps.shape[1]} numbers a step and the times {steps[:4, 0].tolist()}…"
        )
    return steps


def series_bytes(payload: object) -> bytes:
    """The bytes that tell a series from others.

    Raises:
        DataError: It is no series.
    """
    steps = read_series(payload)
    return struct.pack("<2Q", *steps.shape) + steps.astype("<f8").tobytes()


def _all(payloads: Iterable[Numbers], times: bool) -> list[np.ndarray]:
    """Series to fit on, all with as many columns as the first."""
    found: list[np.ndarray] = []
    for place, payload in enumerate(payloads):
        try:
            found.append(read_series(payload, channels=found[0].shape[1] if found else None, times=times))
        except DataError as error:
            raise DataError(f"Series {place} can't be fitted on: {error}") from None
    if not found:
        raise DataError("There must be at least 1 series to fit on, got 0")
    return found


def _gaps(steps: np.ndarray) -> np.ndarray:
    """Steps with the time since the step before in place of the time."""
    return np.column_stack([np.diff(steps[:, 0], prepend=steps[0, 0]), steps[:, 1:]])


def _check_state(state: Mapping[str, Tensor], *names: str) -> None:
    if sorted(state) != sorted(names):
        raise ArtifactError(f"The state must be {list(names)}, got {sorted(state)}; fit it anew")


def _num_features(channels: int, parts: int, times: bool) -> int:
    return channels * (5 + len(QUANTILES) + parts) + 1 + times


def _features(steps: np.ndarray, parts: int, times: bool) -> np.ndarray:
    """Durations, then ten features of each channel, then the course of each: ``[features]``."""
    values = steps[:, times:]
    when = steps[:, 0] - steps[0, 0] if times else np.arange(len(steps), dtype=np.float64)
    duration = when[-1]
    place = when / duration if duration > 0 else np.zeros(len(when))  # from 0 to 1
    centred, spread = place - place.mean(), values - values.mean(axis=0)
    slope = centred @ spread / max(float(centred @ centred), 1e-12)
    course = spread.T  # [channels, steps]
    if times and duration > 0:
        even = np.linspace(0, 1, 4 * parts)
        course = np.stack([np.interp(even, place, one) for one in course])
    return np.concatenate(
        [
            [np.log(len(steps)), *([np.log1p(duration)] if times else [])],
            *(values.mean(axis=0), values.std(axis=0), values.min(axis=0), values.max(axis=0), slope),
            *np.quantile(values, QUANTILES, axis=0),
            stretch(torch.from_numpy(course), parts).numpy().ravel(),
        ]
    )
