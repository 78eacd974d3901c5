"""Prompts against a real vLLM with Qwen2.5's tokenizer: counts, the prefix cache, JSON, and the engine's own flags."""

import asyncio
import json
import subprocess
from typing import get_args

import pytest

from benchmarks.prefix_cache import Cache, tokens_of
from rag.prompt.profiles import PROFILES
from rag.types import Message, Route, Sampling
from service.vllm.client import OpenAIGenerator
from service.vllm.launch.plan import plan
from service.vllm.launch.shape import known_shape
from service.vllm.launch.wish import Load, wish_of
from tests.vllm.environment import CannotInstall, prepare
from tests.vllm.tokens import compare, prompts

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1500)]
CPU_BLOCK = 128  # vLLM's CPU build caches blocks of this many tokens

PARSE = """
import json, sys
from vllm.utils.argparse_utils import FlexibleArgumentParser
try:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
except ImportError:
    from vllm.entrypoints.openai.cli_args import make_arg_parser
for arguments in json.load(sys.stdin):
    parsed = make_arg_parser(FlexibleArgumentParser()).parse_args(["--model", *arguments])
    print(parsed.max_model_len)
"""


def test_every_prompt_has_the_tokens_that_vllm_counts(qwen: str) -> None:
    found = compare(qwen, prompts(90, seed=1))
    assert (found["equal"], found["over_budget"]) == (90, 0), found
    assert found["least_filled"] >= 0.95


def test_the_simulated_prefix_cache_is_vllm_s(qwen: str) -> None:
    cache = Cache(block=CPU_BLOCK)
    generator = OpenAIGenerator([qwen], model="qwen", timeout_s=120)
    salted = Route(cache_salt="of this test")

    async def cached(chat: tuple[Message, ...]) -> int:
        async for delta in generator.stream(chat, Sampling(max_tokens=1), salted):
            if delta.usage:
                return delta.usage.cached_tokens
        return -1

    async def all_in_turn() -> list[int]:
        return [await cached(prompt.messages) for prompt in made]

    made = [prompt for prompt, _ in prompts(40, seed=2)]
    made += made[::2]
    assert asyncio.run(all_in_turn()) == [cache.ask(tokens_of(prompt.messages)) for prompt in made]


def test_tenants_do_not_share_cached_tokens(qwen: str) -> None:
    generator = OpenAIGenerator([qwen], model="qwen", timeout_s=120)
    chat = prompts(1, seed=3)[0][0].messages

    async def cached(salt: str) -> int:
        found = [
            d.usage async for d in generator.stream(chat, Sampling(max_tokens=1), Route(cache_salt=salt)) if d.usage
        ]
        return found[0].cached_tokens

    assert [asyncio.run(cached(salt)) for salt in ("one", "two", "one")][:2] == [0, 0]
    assert asyncio.run(cached("one")) > 0


def test_the_engine_says_its_context(qwen: str) -> None:
    assert asyncio.run(OpenAIGenerator([qwen], model="qwen").window_tokens()) == 8192


def test_an_answer_in_json_fits_its_schema(vllm: str) -> None:
    schema = {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}
    generator = OpenAIGenerator([vllm], model="smollm2", timeout_s=120)
    chat = [Message(role="user", content="Records can be returned within 30 days. How many days? Answer in JSON.")]

    async def written() -> str:
        return "".join([d.text async for d in generator.stream(chat, Sampling(max_tokens=40, json_schema=schema))])

    assert isinstance(json.loads(asyncio.run(written()))["days"], int)


def test_every_flag_of_a_plan_is_accepted_by_vllm_s_own_parser() -> None:
    shape = known_shape("Qwen/Qwen2.5-7B-Instruct")
    assert shape is not None
    wishes = [
        wish_of(
            {"load": load, "parallel": parallel, "quantization": quantization},
            profile=profile,
            model="Qwen/Qwen2.5-7B-Instruct",
            served_name="m",
            shape=shape,
            gpus=gpus,
            gpu_gib=80.0,
            fp8_cache=fp8,
            fast_load=True,
        )
        for load in get_args(Load)
        for parallel, gpus in (("auto", 1), ("tensor", 2), ("data", 2))
        for quantization, fp8 in (("none", False), ("fp8", True), ("awq", False), ("gptq", False), ("int8", False))
        for profile in PROFILES
    ]
    lines = [(engine.arguments, wish.window_tokens) for wish in wishes for engine in plan(wish).engines]
    try:
        python = prepare()
    except CannotInstall as err:
        pytest.skip(f"vLLM's CPU build cannot be installed here: {err}")
    asked = json.dumps([arguments for arguments, _ in lines])
    done = subprocess.run([str(python), "-c", PARSE], input=asked, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    windows = [int(line) for line in done.stdout.split() if line.isdigit()]
    assert windows == [window for _, window in lines]
