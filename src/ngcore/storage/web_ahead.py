"""Several requests to a web server that are on their way at once."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ngcore.storage.web_connections import Answer, NoAnswerError, Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

R = TypeVar("R")


def ask_ahead(
    requests: Iterable[R],
    ahead: int,
    *,
    send: Callable[[R], Sent | None],
    is_final: Callable[[Answer], bool],
    ask: Callable[[R, Callable[[], Answer] | None], Answer],
) -> Generator[tuple[R, Answer]]:
    """Yield requests and their answers in their order, while so many are on their way.

    One thread does it: waiting for the first, it has not to wait as long for the others. From the
    first on that has no final answer (the server is out of order, or refers elsewhere), each is
    asked by a thread of its own, so that what they wait before they try again is not added up.

    Parameters
    ----------
    requests : iterable
    ahead : int
        How many are on their way at most.
    send : callable
        Sends a request, and returns None where it can't be sent in this way.
    is_final : callable
        Whether an answer says all that there is to say.
    ask : callable
        Returns the answer to a request, after several tries if need be. The second argument, if
        it is not None, returns or raises what the first try brings.
    """
    left = iter(requests)
    waiting: deque[tuple[R, Sent | Future[Answer]]] = deque()
    handed_on: dict[Future[Answer], Sent] = {}
    with ExitStack() as stack:
        threads: ThreadPoolExecutor | None = None

        def by_thread(request: R, begun: Callable[[], Answer] | None) -> Future[Answer]:
            nonlocal threads
            if threads is None:
                threads = stack.enter_context(ThreadPoolExecutor(ahead, "ngcore-again"))
            return threads.submit(ask, request, begun)

        try:
            while True:
                while len(waiting) < ahead and (request := next(left, None)) is not None:
                    sent = send(request) if threads is None else None
                    waiting.append((request, sent or by_thread(request, None)))
                if not waiting:
                    return
                request, first = waiting.popleft()
                if isinstance(first, Sent):
                    found = _found(first)
                    if isinstance(found, Answer) and is_final(found):
                        yield request, found
                        continue
                    first = by_thread(request, partial(_told, found))
                    for place, (other, given) in enumerate(waiting):
                        if isinstance(given, Sent):
                            told = by_thread(other, given.answer)
                            waiting[place], handed_on[told] = (other, told), given
                yield request, first.result()
        finally:
            for _, given in waiting:
                if isinstance(given, Sent):
                    given.give_up()
                elif given.cancel() and given in handed_on:
                    handed_on[given].give_up()


def _found(sent: Sent) -> Answer | NoAnswerError:
    try:
        return sent.answer()
    except NoAnswerError as error:
        return error


def _told(found: Answer | NoAnswerError) -> Answer:
    if isinstance(found, NoAnswerError):
        raise found
    return found
