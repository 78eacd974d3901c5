import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from rag.errors import ConfigError
from service.vllm.launch.plan import Plan, plan
from service.vllm.launch.shape import known_shape, read_shape, shape_of
from service.vllm.launch.wish import wish_of

MODEL = "Qwen/Qwen2.5-7B-Instruct"
CONFIG = {
    "hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
    "intermediate_size": 18944, "vocab_size": 152064, "max_position_embeddings": 32768, "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
}  # fmt: skip


def planned(profile: str = "chat", *, load: str = "questions", parallel: str = "auto", **more: Any) -> Plan:
    choices = {"load": load, "parallel": parallel, "quantization": more.pop("quantization", "none")}
    given = {"model": MODEL, "served_name": "m", "shape": shape_of(CONFIG), "gpus": 1, "gpu_gib": 79.2} | more
    return plan(wish_of(choices, profile=profile, **given))


def flag(made: Plan, name: str, engine: int = 0) -> str | None:
    arguments = made.engines[engine].arguments
    return arguments[arguments.index(name) + 1] if name in arguments else None


def test_the_memory_of_qwen25_7b_is_reckoned() -> None:
    shape = known_shape(MODEL)
    assert shape == shape_of(CONFIG)
    assert shape.weight_bytes("none") == pytest.approx(15.23e9, rel=0.01)
    assert shape.kv_bytes(fp8=False) == 57_344
    # One H100 with 32,768 tokens and 0.92 of its memory had room for 1,068,208 tokens (benchmarks/results).
    assert planned("document").figures["cache_tokens"] == pytest.approx(1_068_208, rel=0.05)


def test_yarn_is_there_only_where_the_window_needs_it() -> None:
    assert flag(planned("document"), "--hf-overrides") is None
    overrides = json.loads(flag(planned("book"), "--hf-overrides") or "")
    assert overrides["rope_parameters"]["factor"] == 4.0
    assert overrides["max_position_embeddings"] == 131_072
    assert json.loads(flag(planned("log"), "--hf-overrides") or "")["rope_parameters"]["factor"] == 2.0


def test_several_gpus_become_replicas_for_many_requests_and_one_engine_for_long_ones() -> None:
    many = planned("chat", gpus=2, load="conversations")
    assert [engine.environment["CUDA_VISIBLE_DEVICES"] for engine in many.engines] == ["0", "1"]
    assert [flag(many, "--port", i) for i in range(2)] == ["8001", "8002"]
    assert any("llm.urls" in reason for reason in many.reasons)
    assert flag(planned("book", gpus=2, load="documents"), "--tensor-parallel-size") == "2"


def test_a_model_too_large_for_one_gpu_is_split_over_as_few_as_hold_it() -> None:
    shape = known_shape("Qwen/Qwen2.5-72B-Instruct")
    made = planned("chat", gpus=4, shape=shape)
    assert flag(made, "--tensor-parallel-size") == "4"
    assert flag(planned("chat", gpus=4, shape=shape, quantization="awq"), "--tensor-parallel-size") is None


@pytest.mark.parametrize(("gib", "lack"), [(16.0, "no room for any KV cache"), (24.0, "82,302 tokens")])
def test_what_does_not_fit_is_refused_with_the_arithmetic(gib: float, lack: str) -> None:
    with pytest.raises(ConfigError, match=lack) as told:
        planned("book", gpu_gib=gib)
    assert "14.2 GiB of weights" in str(told.value)
    assert "--fp8-cache" in str(told.value)


def test_eight_bits_make_room() -> None:
    small = planned("book", gpu_gib=24, quantization="fp8", fp8_cache=True)
    assert (flag(small, "--quantization"), flag(small, "--kv-cache-dtype")) == ("fp8", "fp8")


def test_a_load_sets_how_many_requests_run_at_once() -> None:
    loads = ("questions", "documents", "conversations")
    assert [flag(planned(load=load), "--max-num-seqs") for load in loads] == ["256", "16", "128"]


@pytest.mark.parametrize(("name", "value"), [("load", "films"), ("parallel", "no"), ("profile", "huge")])
def test_an_unknown_word_lists_those_there_are(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match="Choose from"):
        planned(**{name: value})


def test_a_config_without_layers_says_so() -> None:
    with pytest.raises(ConfigError, match="num_hidden_layers"):
        shape_of({"hidden_size": 1, "num_attention_heads": 1})


def test_a_name_is_known_by_its_size_and_family() -> None:
    assert known_shape("/models/Qwen2.5-1.5B-Instruct-AWQ") != known_shape("Qwen/Qwen2.5-0.5B-Instruct")
    assert known_shape("Qwen/Qwen2.5-Coder") is None
    assert known_shape("meta-llama/Llama-3.1-7B") is None


def test_a_shape_is_read_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert read_shape(str(tmp_path)) == known_shape(MODEL) == read_shape(MODEL)


def test_what_a_config_leaves_out_is_taken_from_the_rest() -> None:
    some = {name: value for name, value in CONFIG.items() if name not in ("num_key_value_heads", "rope_theta")}
    shape = shape_of(some | {"rope_parameters": {"rope_theta": 5e6}, "head_dim": 256})
    assert (shape.kv_heads, shape.head_dim, shape.rope_theta) == (28, 256, 5e6)
    assert shape_of(CONFIG).head_dim == 128


def test_tied_embeddings_are_held_once() -> None:
    shape = shape_of(CONFIG)
    tied = shape_of(CONFIG | {"tie_word_embeddings": True})
    assert shape.weight_bytes("none") - tied.weight_bytes("none") == 2 * 152_064 * 3584


def test_heads_split_over_gpus_only_where_each_gets_as_many() -> None:
    assert [gpus for gpus in range(1, 9) if shape_of(CONFIG).splits(gpus)] == [1, 2, 4]


def test_gpus_that_the_heads_do_not_split_over_are_left_out() -> None:
    made = planned(gpus=3, parallel="tensor")
    assert flag(made, "--tensor-parallel-size") == "2"
    assert [engine.environment["CUDA_VISIBLE_DEVICES"] for engine in made.engines] == ["0,1"]


@pytest.mark.parametrize(
    ("parallel", "load", "gpus", "why"),
    [
        ("tensor", "questions", 2, "as asked"),
        ("data", "documents", 2, "as asked"),
        ("auto", "questions", 2, "many requests"),
        ("auto", "documents", 2, "few long prompts"),
        ("tensor", "questions", 1, "nothing to split"),
    ],
)
def test_a_plan_says_why_it_splits(parallel: str, load: str, gpus: int, why: str) -> None:
    assert why in planned(load=load, parallel=parallel, gpus=gpus).reasons[0]


def test_gpus_that_hold_weights_but_not_four_windows_are_too_few() -> None:
    made = planned("book", gpus=2, gpu_gib=40)
    assert flag(made, "--tensor-parallel-size") == "2"
    assert "four full windows" in made.reasons[0]


def test_one_full_window_is_enough_where_four_do_not_fit() -> None:
    assert 1 < planned("book", gpu_gib=40).figures["full_windows"] < 4


def test_a_plan_tells_the_cache_and_that_a_window_is_stretched() -> None:
    made = planned("book")
    assert any(f"llm.cache_tokens = {made.figures['cache_tokens']}" in reason for reason in made.reasons)
    assert any("YaRN" in reason for reason in made.reasons)
    assert not any("YaRN" in reason or "llm.urls" in reason for reason in planned("chat").reasons)


def test_an_engine_has_what_it_was_asked_for() -> None:
    (engine,) = planned(host="0.0.0.0", port=9000, cache_folder="/data/vllm", fast_load=True, memory_share=0.8).engines
    assert engine.url == "http://0.0.0.0:9000/v1"
    assert engine.environment == {"VLLM_NO_USAGE_STATS": "1", "VLLM_CACHE_ROOT": "/data/vllm"}
    assert engine.arguments[0] == MODEL
    assert {"0.8", "fastsafetensors", "8192"} <= set(engine.arguments)


def test_a_plain_engine_has_no_flag_that_was_not_asked_for() -> None:
    made = planned()
    for name in ("--quantization", "--kv-cache-dtype", "--load-format", "--tensor-parallel-size"):
        assert flag(made, name) is None


def test_int8_weights_are_read_as_compressed_tensors() -> None:
    assert flag(planned(quantization="int8"), "--quantization") == "compressed-tensors"
    assert flag(planned(quantization="fp8"), "--quantization") == "fp8"


def test_a_command_can_be_pasted_into_a_shell() -> None:
    line = planned("book", cache_folder="/my data").engines[0].shell()
    assert line.startswith("VLLM_NO_USAGE_STATS=1 VLLM_CACHE_ROOT='/my data' vllm serve Qwen/Qwen2.5-7B-Instruct ")
    assert shlex.split(line)[-1] == flag(planned("book"), "--hf-overrides")
