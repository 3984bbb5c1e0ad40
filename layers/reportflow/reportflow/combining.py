"""Lets threads that ask for the same thing at the same moment share one call."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Lock

from reportflow.errors import Retryable


class Combined[Question, Answer]:
    """Makes one call at a time. The next call answers all threads that asked during the last one.

    `call` returns an answer for each question, in the same order. If it fails, all threads that it
    should have answered fail, each with its own error. `before` runs in the thread that is about to
    make the call, with the question of that thread; others can still join.
    """

    def __init__(
        self,
        call: Callable[[Sequence[Question]], Sequence[Answer]],
        *,
        before: Callable[[Question], None] = lambda _: None,
    ) -> None:
        self._call = call
        self._before = before
        self._asked: deque[tuple[Question, Future[Answer]]] = deque()
        self._lock = Lock()

    def __call__(self, question: Question) -> Answer:
        """Return the answer, or raise what `call` raised."""
        answer: Future[Answer] = Future()
        self._asked.append((question, answer))
        with self._lock:
            if not answer.done():
                self._before(question)
                self._answer_all()
        try:
            return answer.result()
        except Retryable as error:
            # An error of its own for each thread, which will name its own job in it.
            raise type(error).of(error) from error.__cause__

    def _answer_all(self) -> None:
        group = [self._asked.popleft() for _ in range(len(self._asked))]
        try:
            answers = self._call([question for question, _ in group])
        except Exception as error:  # noqa: BLE001 - no thread may wait forever, whatever failed
            for _, future in group:
                future.set_exception(error)
        else:
            for (_, future), answer in zip(group, answers, strict=True):
                future.set_result(answer)
