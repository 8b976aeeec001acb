"""Makes the PEFT adapters of this folder and has llama.cpp's converter convert them.

    python3 make.py CONVERTER OUT

CONVERTER is convert_lora_to_gguf.py in a checkout of llama.cpp. Needs torch,
safetensors and transformers.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

HIDDEN, HEADS, KV, HEAD, FF, LAYERS, VOCAB = 16, 4, 2, 4, 24, 2, 40
LAYER = {
    "self_attn.q_proj": (HIDDEN, HEADS * HEAD), "self_attn.k_proj": (HIDDEN, KV * HEAD),
    "self_attn.v_proj": (HIDDEN, KV * HEAD), "self_attn.o_proj": (HEADS * HEAD, HIDDEN),
    "mlp.gate_proj": (HIDDEN, FF), "mlp.up_proj": (HIDDEN, FF), "mlp.down_proj": (FF, HIDDEN),
}
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}

# name: class in transformers, dtype, what the converter is told to write, more
# keys of adapter_config.json
ADAPTERS = {
    "llama": ("LlamaForCausalLM", "f32", "f32", {}),
    "llama-rslora": ("LlamaForCausalLM", "f16", "f16", {"use_rslora": True}),
    "llama-patterns": ("LlamaForCausalLM", "f32", "f32", {
        "rank_pattern": {"down_proj": 4, "layers.1.self_attn.q_proj": 1},
        "alpha_pattern": {"^model.layers.0.mlp.up_proj": 3, "v_proj": 32},
    }),
    "llama-embeddings": ("LlamaForCausalLM", "f32", "f32", {"target_modules": ["embed_tokens", "lm_head", "q_proj"]}),
    "mistral": ("MistralForCausalLM", "bf16", "f32", {}),
    "qwen2": ("Qwen2ForCausalLM", "f16", "f16", {}),
    "qwen3": ("Qwen3ForCausalLM", "f32", "f32", {}),
    "gemma": ("GemmaForCausalLM", "f16", "f16", {}),
    "gemma2": ("Gemma2ForCausalLM", "bf16", "f32", {}),
    "gemma3": ("Gemma3ForCausalLM", "f16", "f16", {}),
}


def base_config(kind):
    return {
        "architectures": [kind], "hidden_size": HIDDEN, "num_attention_heads": HEADS, "num_key_value_heads": KV,
        "head_dim": HEAD, "intermediate_size": FF, "num_hidden_layers": LAYERS, "vocab_size": VOCAB,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
        "attn_logit_softcapping": 50.0 if kind.startswith("Gemma2") else None,
        "final_logit_softcapping": 30.0 if kind.startswith("Gemma2") else None,
        "sliding_window": 32, "sliding_window_pattern": 6,
    }


def weights(config, generator, dtype):
    """The tensors of an adapter; a rank is the first pattern's that ends the name."""
    tensors = {}

    def random(*shape):
        return (torch.randn(*shape, generator=generator) / 4).to(dtype)

    for layer in range(LAYERS):
        for module, (inputs, outputs) in LAYER.items():
            path = f"model.layers.{layer}.{module}"
            if "all" not in config["target_modules"] and path.rsplit(".", 1)[1] not in config["target_modules"]:
                continue
            rank = next((r for p, r in config["rank_pattern"].items() if path.endswith(p)), config["r"])
            tensors[f"base_model.model.{path}.lora_A.weight"] = random(rank, inputs)
            tensors[f"base_model.model.{path}.lora_B.weight"] = random(outputs, rank)
    if "embed_tokens" in config["target_modules"]:
        embedding = f"base_model.model.model.embed_tokens"
        tensors[f"{embedding}.lora_embedding_A"] = random(config["r"], VOCAB)
        tensors[f"{embedding}.lora_embedding_B"] = random(HIDDEN, config["r"])
        tensors[f"{embedding}.base_layer.weight"] = random(VOCAB, HIDDEN)
        tensors["base_model.model.lm_head.lora_A.weight"] = random(config["r"], HIDDEN)
        tensors["base_model.model.lm_head.lora_B.weight"] = random(VOCAB, config["r"])
    return tensors


def main():
    converter, out = Path(sys.argv[1]), Path(sys.argv[2])
    for seed, (name, (kind, dtype, outtype, more)) in enumerate(ADAPTERS.items()):
        config = {
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "bias": "none", "r": 2, "lora_alpha": 6, "use_rslora": False,
            "rank_pattern": {}, "alpha_pattern": {}, "fan_in_fan_out": False, "inference_mode": True,
            "init_lora_weights": True, "modules_to_save": None, "use_dora": False,
            "target_modules": ["all"] if "target_modules" not in more else None,
        } | more
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        tensors = weights(config, torch.Generator().manual_seed(seed), DTYPES[dtype])
        if config["target_modules"] == ["all"]:
            config["target_modules"] = [m.rsplit(".", 1)[1] for m in LAYER]
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        with tempfile.TemporaryDirectory() as base:
            (Path(base) / "config.json").write_text(json.dumps(base_config(kind)))
            subprocess.run([sys.executable, converter, folder, "--base", base, "--outtype", outtype,
                            "--outfile", folder / "want.gguf"], check=True)


if __name__ == "__main__":
    main()
