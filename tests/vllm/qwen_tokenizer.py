"""Qwen2.5's tokenizer as a folder that transformers and vLLM load, rebuilt from the ranks that Citewell counts with."""

import json
from itertools import pairwise
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE

from rag.language.tokens import qwen_encoding

CHAT_TEMPLATE = (
    "{%- if messages[0]['role'] == 'system' %}{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}"
    "{%- endif %}{%- for message in messages %}{%- if not (message.role == 'system' and loop.first) %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def write_tokenizer(folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json; about 20 s."""
    encoding = qwen_encoding()
    ranks: dict[bytes, int] = encoding._mergeable_ranks
    letters = _byte_letters()

    def text(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    by_rank = sorted(ranks.items(), key=lambda pair: pair[1])
    last = (_last_merge(token, rank, ranks) for token, rank in by_rank if len(token) > 1)
    merges = [(text(left), text(right)) for left, right in last]
    tokenizer = Tokenizer(BPE(vocab={text(token): rank for token, rank in ranks.items()}, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    words = pre_tokenizers.Split(Regex(encoding._pat_str), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    specials = [token for token, _ in sorted(encoding._special_tokens.items(), key=lambda pair: pair[1])]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in specials if t[1] == "|"][:14])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in specials[14:]])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "model_max_length": 131072,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "bos_token": None,
        "unk_token": None,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def _byte_letters() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in keep}
    for extra, byte in enumerate(byte for byte in range(256) if byte not in letters):
        letters[byte] = chr(256 + extra)
    return letters


def _last_merge(token: bytes, rank: int, ranks: dict[bytes, int]) -> list[bytes]:
    """The pair whose merge makes this token, by merging its bytes in rank order."""
    parts = [bytes([byte]) for byte in token]
    while True:
        best = min(
            ((ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks), default=(rank, -1)
        )
        if best[0] >= rank:
            return parts
        i = best[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
