"""Work ahead of whoever waits for it, in threads, as far as memory allows."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def prefetch(
    pool: ThreadPoolExecutor,
    function: Callable[[A], B],
    items: Iterable[A],
    depth: int,
    size: Callable[[A], int],
    most: int,
) -> Iterator[B]:
    """Yield function(item) in order, computed by `pool` for items ahead of the one that is waited for.

    They are up to `depth` items, and no more than one beyond a total `size` of `most`. Nothing that was yielded, or
    computed from, is kept.
    """
    waiting: deque[tuple[int, Future[B]]] = deque()
    total = 0
    for item in items:
        waiting.append((size(item), pool.submit(function, item)))
        total += waiting[-1][0]
        del item  # it may be large, and the next one takes its time
        while waiting and (len(waiting) > depth or total > most):
            total -= waiting[0][0]
            yield waiting.popleft()[1].result()
    while waiting:
        yield waiting.popleft()[1].result()


def grouped(items: Iterable[A], count: int, size: Callable[[A], int], most: int) -> Iterator[list[A]]:
    """Yield lists of successive items: up to `count`, or until their total `size` reaches `most`."""
    group: list[A] = []
    total = 0
    for item in items:
        total += size(item)
        group.append(item)
        del item
        if len(group) >= count or total >= most:
            yield group
            group, total = [], 0
    if group:
        yield group
