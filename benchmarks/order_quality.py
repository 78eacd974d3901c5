"""Whether the order of passages costs answers: SQuAD questions answered by SmolLM2 on vLLM's CPU build.

    DATA=FOLDER python -m benchmarks.order_quality [QUESTIONS]     FOLDER holds en/squad2_devhalf

Each question gets its best passages twice: by relevance, and in Citewell's order for the prefix cache. Counted are the
answers that hold the expected one. SmolLM2-135M is weak, so this shows whether order hurts a weak reader, no more.
"""

import asyncio
import os
import random
import sys
import tempfile
from pathlib import Path

from benchmarks.common import beir, finish, hits_of
from rag.language.text import fold
from rag.prompt.ordering import PrefixOrder
from rag.prompt.prompt import PromptPlan, build
from rag.retrieval.retrieval import to_passages
from rag.types import Message, Sampling
from service.evaluation.measures import holds_answer
from service.vllm.client import OpenAIGenerator
from service.vllm.counter import TransformersTokenCounter
from tests.vllm.conftest import serving
from tests.vllm.environment import MODEL, prepare

BUDGET, HITS = 1200, 5


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    prepare()
    counter = TransformersTokenCounter(str(MODEL))
    chats: dict[str, list[tuple[Message, ...]]] = {"relevance": [], "ordered": []}
    ordering, moved, in_context = PrefixOrder(), 0, {"relevance": 0, "ordered": 0}
    with beir(Path(os.environ["DATA"]) / "en" / "squad2_devhalf") as (kb, cases, binding):
        wanted = random.Random(0).sample([case for case in cases if case.answers and not case.unanswerable], count)
        for case in wanted:
            hits = hits_of(kb, case.text, limit=HITS, binding=binding)
            for name, order in (("relevance", None), ("ordered", ordering)):
                layout = PromptPlan(counter=counter, ordering=order)
                prompt = build(case.text, to_passages(hits), layout, budget_tokens=BUDGET)
                chats[name].append(prompt.messages)
                in_context[name] += holds_answer(case, "\n".join(passage.text for passage in prompt.passages))
            moved += chats["relevance"][-1] != chats["ordered"][-1]
    flags = ("--served-model-name", "smollm2", "--max-model-len", "2048", "--max-num-seqs", "16")
    with tempfile.TemporaryDirectory() as logs, serving(Path(logs) / "vllm.log", MODEL, *flags) as url:
        answers = {name: asyncio.run(written(url, asked)) for name, asked in chats.items()}
    right = {
        name: sum(holds_answer(case, fold(text)) for case, text in zip(wanted, texts, strict=True))
        for name, texts in answers.items()
    }
    pairs = [
        (holds_answer(case, fold(a)), holds_answer(case, fold(b)))
        for case, a, b in zip(wanted, answers["relevance"], answers["ordered"], strict=True)
    ]
    finish(
        questions=count,
        moved=moved,
        answer_in_context=in_context,
        right=right,
        only_by_relevance=sum(a and not b for a, b in pairs),
        only_ordered=sum(b and not a for a, b in pairs),
    )


async def written(url: str, chats: list[tuple[Message, ...]]) -> list[str]:
    generator = OpenAIGenerator([url], model="smollm2", timeout_s=600)
    gate = asyncio.Semaphore(8)

    async def one(chat: tuple[Message, ...]) -> str:
        async with gate:
            return "".join([delta.text async for delta in generator.stream(chat, Sampling(max_tokens=40))])

    return list(await asyncio.gather(*map(one, chats)))


if __name__ == "__main__":
    main()
