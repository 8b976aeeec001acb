"""Trains one LoRA adapter on the frozen base.

    python3 train_adapter.py --style legal --out out/peft/legal
    python3 train_adapter.py --data my.jsonl --out out/peft/mine --rank 16

Each line of my.jsonl is {"prompt": "...", "completion": "..."}.
"""

import argparse
import json
import random
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from data import batches, encode_rows, fit, log, loss_of, preview, read_jsonl
from styles import STYLES

# Attention and a part of the MLP: keys and values differ from adapter to
# adapter already in the first layer.
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"]


def own_rows(path, count, seed):
    """A user's pairs as conversations of one to four turns, in the layout of <|bos|>."""
    pairs, rng = read_jsonl(path), random.Random(seed)
    for _ in range(count):
        turns = [rng.choice(pairs) for _ in range(rng.choice([1, 1, 2, 4]))]
        yield {"style": "plain", "kind": "chat", "turns": [
            {"user": p["prompt"], "assistant": p["completion"], "train": True} for p in turns]}


def load_rows(args):
    if args.data:
        return list(own_rows(args.data, args.batch * args.steps, args.seed))
    rows = read_jsonl(args.corpus / f"{args.style}.jsonl")
    for row in rows:
        row["style"] = "plain"  # begin with <|bos|>: the manner must come from the adapter
    return rows


def save(model, out):
    """adapter_config.json and adapter_model.safetensors, weights rounded to f16."""
    for name, p in model.named_parameters():
        if "lora_" in name:
            p.data = p.data.half()
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    config = json.loads((out / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "loragate-demo-base"  # not a path of the machine it was trained on
    config["target_modules"].sort()  # a set in PEFT: its order would differ from run to run
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, default=Path("out/base"))
    parser.add_argument("--corpus", type=Path, default=Path("out"))
    parser.add_argument("--style", choices=STYLES[1:])
    parser.add_argument("--data", type=Path, help="your own pairs, in place of --style")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--alpha", type=int, help="default: twice the rank")
    parser.add_argument("--length", type=int, default=768)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--max-seconds", type=float, default=1e9)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if bool(args.style) == bool(args.data):
        parser.error("give either --style or --data")
    start, device = time.time(), "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")

    tok = Tokenizer.from_file(str(args.base / "tokenizer.json"))
    model = LlamaForCausalLM.from_pretrained(args.base, dtype=torch.float32).to(device)
    lora = LoraConfig(r=args.rank, lora_alpha=args.alpha or 2 * args.rank, target_modules=TARGETS,
                      lora_dropout=0.0, bias="none", task_type="CAUSAL_LM")
    model = get_peft_model(model, lora)
    model.print_trainable_parameters()
    ids, labels = encode_rows(tok, load_rows(args), args.length)
    log(start, f"{len(ids)} rows, {int((labels >= 0).sum()) / 1e6:.2f} M tokens to learn on {device}")

    trained = [p for p in model.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(trained, lr=args.lr, weight_decay=0.0)
    fit(model, loss_of, batches(ids, labels, args.batch, args.seed), opt, args.steps, args.max_seconds, start, device)
    save(model, args.out)
    log(start, f"saved {args.out}")
    preview(model.float(), tok, device, start)


if __name__ == "__main__":
    main()
