"""The engines' queues, and which question is refused for them."""

import asyncio

import httpx
import pytest

from rag.deadline import Deadline
from rag.errors import EngineBusy
from service.http.access.admission import Admission
from service.telemetry.metrics import Metrics
from service.vllm.routing import engine_name
from tests.support.llm.answering import Answer, Hosts


def engine(waiting: float, running: float) -> httpx.Response:
    lines = [
        f"# TYPE vllm:num_requests_{name} gauge\nvllm:num_requests_{name} {value}\n"
        for name, value in (("waiting", waiting), ("running", running))
    ]
    return httpx.Response(200, text="".join(lines))


class Queue:
    """Engines with so many waiting and running; asked: how often they were."""

    def __init__(self, *engines: tuple[float, float] | None, most_waiting: int = 64) -> None:
        self.metrics = Metrics()
        answers = {f"e{place}": self._answer(each) for place, each in enumerate(engines)}
        self.hosts = Hosts(**answers)
        self.admission = Admission(
            self.hosts.urls, most_waiting=most_waiting, metrics=self.metrics, transport=self.hosts
        )

    def _answer(self, each: tuple[float, float] | None) -> Answer:
        return lambda body: engine(*each) if each is not None else httpx.Response(404)

    def ask(self, *, left_s: float = 100.0, answer_s: float = 0.0) -> None:
        """Ask once so that the queues are read, and then again."""

        async def main() -> None:
            self.admission.check(Deadline(100))
            if self.admission._look is not None:
                await self.admission._look
            if answer_s:
                self.admission.answered(answer_s)
            self.admission.check(Deadline(left_s))

        asyncio.run(main())


def test_a_question_waits_where_its_answer_comes_in_time() -> None:
    Queue((10, 5)).ask(left_s=21, answer_s=10)


def test_a_question_whose_answer_would_come_too_late_is_refused() -> None:
    queue = Queue((10, 5))
    with pytest.raises(EngineBusy, match="10 questions are already waiting for the language model") as busy:
        queue.ask(left_s=19, answer_s=10)
    assert busy.value.retry_after_s == 20
    assert queue.metrics.refused.labels("queue")._value.get() == 1


@pytest.mark.parametrize(("answer_s", "told_s"), [(0.1, 1.0), (1000.0, 60.0)])
def test_nobody_is_told_to_wait_for_less_than_a_second_or_more_than_a_minute(answer_s: float, told_s: float) -> None:
    with pytest.raises(EngineBusy) as busy:
        Queue((5, 5)).ask(left_s=0.01, answer_s=answer_s)
    assert busy.value.retry_after_s == told_s


def test_a_queue_that_is_full_refuses_whatever_time_is_left() -> None:
    Queue((63, 1)).ask()
    with pytest.raises(EngineBusy):
        Queue((64, 1)).ask()
    with pytest.raises(EngineBusy):
        Queue((3, 1), most_waiting=3).ask()


def test_the_queues_of_all_engines_count_together_and_each_is_shown() -> None:
    queue = Queue((2, 1), (3, 4))
    with pytest.raises(EngineBusy, match="5 questions are already waiting"):
        queue.ask(left_s=9.9, answer_s=10)
    shown = [queue.metrics.waiting.labels(engine_name(place))._value.get() for place in (0, 1)]
    assert shown == [2, 3]


def test_an_engine_that_tells_nothing_refuses_nobody() -> None:
    Queue(None).ask(left_s=0.1, answer_s=1000)


def test_without_engines_nothing_is_asked() -> None:
    queue = Queue()
    queue.ask()
    assert queue.admission._look is None


def test_the_engines_are_asked_once_a_second_at_most() -> None:
    queue = Queue((1, 1))

    async def main() -> None:
        for _ in range(5):
            queue.admission.check(Deadline(100))
        assert queue.admission._look is not None
        await queue.admission._look
        queue.admission.check(Deadline(100))
        await asyncio.sleep(0)

    asyncio.run(main())
    assert len(queue.hosts.requests) == 1
    assert str(queue.hosts.requests[0].url) == "http://e0/metrics"


def test_how_long_an_answer_takes_is_learned_slowly() -> None:
    admission = Queue().admission
    admission.answered(10)
    assert admission._answer_s == 10
    admission.answered(20)
    assert admission._answer_s == pytest.approx(11)
