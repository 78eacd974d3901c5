"""Questions that people ask, from a file or about the sample, for locust.

    locust -f benchmarks/locustfile.py --headless -u 32 -r 8 -t 60s --host http://127.0.0.1:8000

QUESTIONS: a file with one question a line, or JSONL with "text"; KEY: an API key. Half of the users stream and are
timed to their first words as well (TTFT).
"""

import json
import os
import random
import time
from pathlib import Path

from locust import HttpUser, between, task

STREAM = "/v1/ask (stream)"
SAMPLE = (
    "Which albums did AC/DC release?",
    "Who is the sales support agent of customer Luís Gonçalves?",
    "Who composed the track Balls to the Wall?",
    "How long can an unopened record be returned?",
    "What happens if shellac touches alcohol?",
    "员工每年有多少天年假？",
    "AC/DC 发行了哪些专辑？",
    "What is the capital of Mongolia?",
)


def read_questions() -> list[str]:
    if "QUESTIONS" not in os.environ:
        return list(SAMPLE)
    lines = [line for line in Path(os.environ["QUESTIONS"]).read_text().splitlines() if line.strip()]
    return [json.loads(line)["text"] if line.startswith("{") else line for line in lines]


ASKED = read_questions()


class Asker(HttpUser):
    wait_time = between(1, 5)

    def on_start(self) -> None:
        if "KEY" in os.environ:
            self.client.headers["Authorization"] = f"Bearer {os.environ['KEY']}"

    @task
    def ask(self) -> None:
        self.client.post("/v1/ask", json={"question": random.choice(ASKED)})

    @task
    def stream(self) -> None:
        begun = time.perf_counter()
        body = {"question": random.choice(ASKED), "stream": True}
        with self.client.post(
            "/v1/ask", json=body, stream=True, catch_response=True, name="/v1/ask (stream)"
        ) as answer:
            last = ""
            for line in answer.iter_lines(decode_unicode=True):
                if line.startswith("event: "):
                    if line == "event: delta" and last != line:
                        self._first_words(begun)
                    last = line
            if last != "event: done":
                answer.failure(f"the stream ended with {last!r}")

    def _first_words(self, begun: float) -> None:
        seconds = time.perf_counter() - begun
        told = {"request_type": "TTFT", "name": STREAM, "response_length": 0, "exception": None}
        self.environment.events.request.fire(response_time=1000 * seconds, **told)
