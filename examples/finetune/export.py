"""Writes GGUF files from a Hugging Face checkpoint and from PEFT adapters.

    python3 export.py base out/base out/base.gguf
    python3 export.py lora out/peft/legal out/legal.gguf --base out/base

Needs numpy and gguf only.
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import quantize

from chat import BOS, CHAT_TEMPLATE, END

Q8 = gguf.GGMLQuantizationType.Q8_0
CONTROL, UNUSED, NORMAL = gguf.TokenType.CONTROL, gguf.TokenType.UNUSED, gguf.TokenType.NORMAL
LAYER = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def read_safetensors(path):
    """A safetensors file as {name: array}; f16 and f32 are all we write."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, info in header.items():
        first, last = (8 + size + offset for offset in info["data_offsets"])
        kind = {"F16": np.float16, "F32": np.float32}[info["dtype"]]
        tensors[name] = np.frombuffer(raw[first:last], kind).reshape(info["shape"])
    return tensors


def gguf_name(module):
    """'model.layers.3.mlp.up_proj' -> 'blk.3.ffn_up'"""
    if module in TOP:
        return TOP[module]
    _, _, number, rest = module.split(".", 3)
    return f"blk.{number}.{LAYER[rest]}"


def interleave(rows, heads):
    """Reorders the rows of a q or k matrix for llama.cpp.

    Rotary embedding turns pairs of rows of a head. Hugging Face pairs row i
    with row i + half, llama.cpp's llama architecture pairs 2i with 2i + 1.
    """
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, half, -1).transpose(0, 2, 1, 3).reshape(rows.shape)


def arrange(name, rows, config):
    if name.endswith("attn_q"):
        return interleave(rows, config["num_attention_heads"])
    if name.endswith("attn_k"):
        return interleave(rows, config["num_key_value_heads"])
    return rows


def add_shape(writer, config):
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    rope = config.get("rope_parameters") or config
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10000.0)))
    writer.add_vocab_size(config["vocab_size"])


def token_type(token):
    if token.startswith("<|unused_"):
        return UNUSED
    return CONTROL if token.startswith("<|") and token.endswith("|>") else NORMAL


def add_tokenizer(writer, path):
    model = json.loads((path / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([token_type(t) for t in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(END)
    writer.add_eot_token_id(END)
    writer.add_add_bos_token(True)
    writer.add_chat_template(CHAT_TEMPLATE)


def finish(writer, out):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"export: {out}: {out.stat().st_size} bytes", flush=True)


def export_base(source, out, name):
    config = json.loads((source / "config.json").read_text())
    writer = gguf.GGUFWriter(str(out), "llama")
    writer.add_type("model")
    writer.add_name(name)
    writer.add_description("A tiny model that shows how loragate serves many adapters of one base")
    writer.add_license("Apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_shape(writer, config)
    add_tokenizer(writer, source)
    for module, tensor in sorted(read_safetensors(source / "model.safetensors").items()):
        target = gguf_name(module.removesuffix(".weight"))
        tensor = np.ascontiguousarray(arrange(target, tensor.astype(np.float32), config))
        if tensor.ndim == 1:  # norms stay exact, they are tiny
            writer.add_tensor(target + ".weight", tensor)
        else:
            writer.add_tensor(target + ".weight", quantize(tensor, Q8), raw_dtype=Q8)
    finish(writer, out)


def export_lora(source, out, name, base):
    """A matrix A as it is; B with the rows of q and k reordered like the base's."""
    config = json.loads((base / "config.json").read_text())
    adapter = json.loads((source / "adapter_config.json").read_text())
    writer = gguf.GGUFWriter(str(out), "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(adapter["lora_alpha"]))
    writer.add_name(name)
    writer.add_license("Apache-2.0")
    for key, tensor in sorted(read_safetensors(source / "adapter_model.safetensors").items()):
        module, side = key.removeprefix("base_model.model.").removesuffix(".weight").rsplit(".", 1)
        target = gguf_name(module)
        if side == "lora_B":
            tensor = arrange(target, tensor, config)
        writer.add_tensor(f"{target}.weight.{side.lower()}", np.ascontiguousarray(tensor.astype(np.float16)))
    finish(writer, out)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["base", "lora"])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", help="general.name; default: from the file's name")
    parser.add_argument("--base", type=Path, default=Path("out/base"), help="the base's checkpoint, for lora")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.kind == "base":
        export_base(args.source, args.out, args.name or "loragate demo base")
    else:
        export_lora(args.source, args.out, args.name or f"loragate demo {args.out.stem}", args.base)


if __name__ == "__main__":
    main()
