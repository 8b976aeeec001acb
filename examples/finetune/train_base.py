"""Trains the tokenizer and the base model from scratch.

    python3 train_base.py --data out --out out/base
"""

import argparse
import time
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from chat import BOS, END
from data import batches, encode_rows, fit, log, loss_of, preview, read_jsonl, train_tokenizer


def build(args):
    """A Llama small enough that its q8_0 file stays under 8 MB."""
    config = LlamaConfig(
        vocab_size=args.vocab, hidden_size=args.width, intermediate_size=3 * args.width,
        num_hidden_layers=args.layers, num_attention_heads=args.width // 32, num_key_value_heads=args.width // 64,
        max_position_embeddings=4096, rms_norm_eps=1e-5, tie_word_embeddings=True,
        bos_token_id=BOS, eos_token_id=END, pad_token_id=None, attn_implementation="sdpa")
    return LlamaForCausalLM(config)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("out"))
    parser.add_argument("--out", type=Path, default=Path("out/base"))
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--length", type=int, default=768, help="tokens in a row")
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--max-seconds", type=float, default=1e9)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    start, device = time.time(), "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")

    rows = read_jsonl(args.data / "base.jsonl")
    tok = train_tokenizer(rows[:4000], args.vocab)
    args.vocab = tok.get_vocab_size()
    args.out.mkdir(parents=True, exist_ok=True)
    tok.save(str(args.out / "tokenizer.json"))
    log(start, f"tokenizer of {args.vocab} tokens")
    ids, labels = encode_rows(tok, rows, args.length)
    log(start, f"{len(rows)} rows, {int((labels >= 0).sum()) / 1e6:.1f} M tokens to learn")

    model = build(args).to(device)
    log(start, f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters on {device}")
    opt = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.95), weight_decay=0.05,
                            fused=device == "cuda")
    # Compiling costs half a minute and pays only for a long run on a GPU.
    step_loss = torch.compile(loss_of) if device == "cuda" and args.steps > 500 else loss_of
    fit(model, step_loss, batches(ids, labels, args.batch, args.seed), opt, args.steps, args.max_seconds,
        start, device)
    model.save_pretrained(args.out)
    log(start, f"saved {args.out}")
    preview(model, tok, device, start)


if __name__ == "__main__":
    main()
