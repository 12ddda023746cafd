"""Arrays of a results tree that are computed when somebody first reads one of them.

Draws from an exact posterior are for those who ask for draws: what summaries, pictures and comparisons show stands
beside them. So a tree holds in their place what they are computed by. Whoever reads values, whether by xarray, NumPy or
ArviZ, in this process or by way of a file, gets ordinary arrays and need not know of it.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import RLock
from typing import Any
from weakref import WeakSet, WeakValueDictionary

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from bayesmeta._typing import AnyArray

Hash = Callable[[tuple[str, ...], AnyArray], str]
_REMEMBERED = 1_000  # sources whose hashes are kept after their arrays


class Source:
    """What computes the arrays of one tree: in parts, each of which makes all arrays of a kind at once.

    Every array that is waiting to be read gets numbers of its own, so that an edit of one copy of a tree is not one of
    another.
    """

    def __init__(self, about: str, hashed: Hash) -> None:
        """about : what the numbers depend on besides the attributes of the tree. hashed : dimensions and values."""
        self.about, self.token, self._hashed = about, "", hashed
        self.lock = RLock()
        self.hashes: dict[str, str] = {}
        self._parts: dict[str, Callable[[], Mapping[str, AnyArray]]] = {}
        self._sizes: dict[str, dict[str, int]] = {}
        self._made: dict[str, AnyArray] = {}
        self._waiting: dict[str, WeakSet[Unread]] = {}

    def array(self, key: str, sizes: dict[str, int], part: Callable[[], Mapping[str, AnyArray]]) -> "Unread":
        """An array of numbers. sizes : by dimension. part : computes it, with others, by key, whatever their shapes."""
        self._parts[key], self._sizes[key] = part, sizes
        return self.waiting(key, tuple(sizes.values()))

    def waiting(self, key: str, shape: tuple[int, ...]) -> "Unread":
        """The array once more, to be read by itself."""
        array = Unread(self, key, shape)
        with self.lock:
            self._waiting.setdefault(key, WeakSet()).add(array)
        return array

    def taken(self, array: "Unread") -> AnyArray:
        """The numbers of an array, which the last that waits for them need not copy."""
        with self.lock:
            key = array.key
            self.hash_of(key)
            self._computed(key)  # whose hash may be known from an equal tree
            waiting = self._waiting[key]
            waiting.discard(array)
            values = self._made[key].copy() if waiting else self._made.pop(key)
        return values.reshape(array.shape)

    def hash_of(self, key: str) -> str:
        """The hash of an array as it was computed."""
        with self.lock:
            if key not in self.hashes:
                self._computed(key)
                self.hashes[key] = self._hashed(tuple(self._sizes[key]), self._made[key])
            return self.hashes[key]

    def _computed(self, key: str) -> None:
        """See to it that an array is there, with those of its part for which somebody waits."""
        if key in self._made:
            return
        for other, values in self._parts[key]().items():
            if other == key or self._waiting[other]:
                self._made[other] = np.array(values, float).reshape(tuple(self._sizes[other].values()))

    def known_as(self, token: str) -> None:
        """What stands in the tree in place of hashes; those of an equal tree, whose draws are the same, are shared."""
        self.token, self.hashes = token, _HASHES.get(token, self.hashes)
        _SOURCES[token] = self
        _remember(token, self.hashes)


_SOURCES: WeakValueDictionary[str, Source] = WeakValueDictionary()  # as long as a tree holds one of their arrays
_HASHES: OrderedDict[str, dict[str, str]] = OrderedDict()


def _remember(token: str, hashes: dict[str, str]) -> None:
    _HASHES[token] = hashes
    _HASHES.move_to_end(token)
    while len(_HASHES) > _REMEMBERED:
        _HASHES.popitem(last=False)


def computed_hash(token: str, key: str) -> str | None:
    """The hash of an array as it was computed, in this process; None where that is not known any more."""
    if (known := _HASHES.get(token, {}).get(key)) is not None:
        return known
    source = _SOURCES.get(token)
    return source.hash_of(key) if source is not None else None


class Unread(BackendArray):
    """An array for `xarray.Variable` that is computed at first use, and one in memory from then on."""

    dtype = np.dtype(np.float64)

    def __init__(self, source: Source, key: str, shape: tuple[int, ...]) -> None:
        self.source, self.key, self.shape = source, key, shape
        self._values: AnyArray | None = None

    @property
    def is_read(self) -> bool:
        return self._values is not None

    @property
    def values(self) -> AnyArray:
        if self._values is None:
            with self.source.lock:
                if self._values is None:  # no other thread was first
                    self._values = self.source.taken(self)
        return self._values

    @property
    def _adapted(self) -> Any:
        """The values, indexed in the ways of xarray."""
        return indexing.as_indexable(self.values)  # type: ignore[no-untyped-call]

    def get_duck_array(self, dtype: Any = None) -> AnyArray:
        return self.values

    async def async_get_duck_array(self, dtype: Any = None) -> AnyArray:
        return self.values

    def __getitem__(self, key: Any) -> Any:
        return self._adapted[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._adapted[key] = value

    @property
    def oindex(self) -> Any:
        return self._adapted.oindex

    @property
    def vindex(self) -> Any:
        return self._adapted.vindex

    def transpose(self, order: Any) -> AnyArray:
        return self.values.transpose(order)

    def expanded(self) -> "Unread":
        """The same with an axis of length one at the end; of an array that is not read."""
        return self.source.waiting(self.key, (*self.shape, 1))

    def __copy__(self) -> "Unread | AnyArray":
        with self.source.lock:
            return self.source.waiting(self.key, self.shape) if self._values is None else self._values.copy()

    def __deepcopy__(self, memo: Any) -> "Unread | AnyArray":
        return self.__copy__()

    def __reduce__(self) -> Any:
        values, source = self.values, self.source
        return _restored, (values, source.token, self.key, source.hash_of(self.key))


def _restored(values: AnyArray, token: str, key: str, hashed: str) -> AnyArray:
    """An array in another process, which can tell whether it is edited there."""
    if token:
        known = _HASHES.get(token, {})
        _remember(token, known)
        known[key] = hashed
    return values


def unread(variable: xr.Variable) -> Unread | None:
    """The array of a variable that nobody has read; None for one in memory."""
    values = getattr(variable, "_data", None)
    return values if isinstance(values, Unread) and not values.is_read else None
