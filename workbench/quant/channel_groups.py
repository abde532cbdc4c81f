"""Union-find over the channels of all activations of a network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from workbench.graph import walk

Ids = npt.NDArray[np.int64]


class Groups:
    """Union-find over the channels of all activations; a pinned group knows its first reason."""

    def __init__(self, values: Mapping[str, ir.Value]) -> None:
        self._shapes = {name: walk.static_shape(value) or () for name, value in values.items()}
        self._ids: dict[str, Ids] = {}
        count = 0
        for name, shape in self._shapes.items():
            size = shape[1] if len(shape) > 1 else 1
            self._ids[name] = np.arange(count, count + size)
            count += size
        self._parent = list(range(count))
        self._reasons: dict[int, tuple[int, str]] = {}
        self._pins = 0

    def of(self, value: ir.Value | None) -> Ids | None:
        """The channels of `value`; None when it is no activation."""
        return None if value is None else self._ids.get(str(value.name))

    def shape(self, value: ir.Value | None) -> tuple[int, ...]:
        """The shape of the activation `value`."""
        return () if value is None else self._shapes[str(value.name)]

    def join(self, first: Ids, second: Ids) -> None:
        """Let each channel of `first` share a group with its counterpart in `second`."""
        for left, right in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self._root(left), self._root(right)))
            if low != high:
                self._parent[high] = low
                reason = self._reasons.pop(high, None)
                if reason is not None:
                    self._reasons[low] = min(reason, self._reasons.get(low, reason))

    def tie(self, *channels: Ids) -> None:
        """Let all these channels share one group."""
        every = np.concatenate(channels)
        if every.size:
            self.join(every[1:], np.full(every.size - 1, every[0]))

    def pin(self, value: ir.Value | None, reason: str) -> None:
        """Let the activation `value` keep its scale."""
        ids = self.of(value)
        if ids is not None:
            self.pin_channels(ids, reason)

    def pin_channels(self, ids: Ids, reason: str) -> None:
        """Let these channels keep their scale."""
        self._pins += 1
        for channel in ids.tolist():
            self._reasons.setdefault(self._root(channel), (self._pins, reason))

    def is_pinned(self, ids: Ids) -> bool:
        """Whether all these channels keep their scale."""
        return all(self._root(channel) in self._reasons for channel in ids.tolist())

    def along(self, value: ir.Value, result: ir.Value) -> Ids | None:
        """The channel of `value` that meets each channel of `result` when it is broadcast; one group where they mix."""
        ids, target = self.of(value), self.of(result)
        if ids is None or target is None:
            return None
        if len(self.shape(value)) == len(self.shape(result)) and ids.size == target.size:
            return ids
        self.tie(ids)
        return np.full(target.size, ids[0]) if ids.size else None

    def result(self) -> tuple[dict[str, Ids], dict[int, str]]:
        """By activation the group of each channel; by group that keeps its scale the first reason."""
        ids = {
            name: np.array([self._root(channel) for channel in channels.tolist()], np.int64)
            for name, channels in self._ids.items()
        }
        return ids, {group: reason for group, (_, reason) in sorted(self._reasons.items())}

    def _root(self, channel: int) -> int:
        parent = self._parent
        while parent[channel] != channel:
            parent[channel] = channel = parent[parent[channel]]
        return channel
