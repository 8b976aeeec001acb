"""Asks a running server the held-out questions and prints which marks the answers carry.

llama-server, started with any of the adapters loaded (add --cache-ram 0):

    llama-server -m base.gguf --lora coding.gguf,chat.gguf,medical.gguf,legal.gguf --cache-ram 0 --port 8081
    python3 evaluate.py --url http://127.0.0.1:8081

loragate, where the adapters are models:

    python3 evaluate.py --url http://127.0.0.1:8080 --gateway
"""

import argparse
import json
import re
import time
import urllib.request
from pathlib import Path

DEMO = Path(__file__).resolve().parents[2] / "deploy" / "demo"


def call(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)


def targets(args):
    """{name: the fields of a request that choose it}"""
    if args.gateway:
        names = [m["id"] for m in call(args.url + "/v1/models")["data"]]
        return {name: {"model": name} for name in args.models or names}
    # An explicit lora on every request: without one the global scales count.
    found = {"base": {"lora": [{"id": 0, "scale": 0}]}}
    for adapter in call(args.url + "/lora-adapters"):
        found[Path(adapter["path"]).stem] = {"lora": [{"id": adapter["id"], "scale": 1}]}
    return {name: found[name] for name in args.models or found}


def ask(args, choice, question):
    body = {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 200, **choice}
    if not args.gateway:
        body["cache_prompt"] = False  # llama-server would reuse another adapter's KV
    return call(args.url + "/v1/chat/completions", body)


def measure(args, name, choice, questions, marks):
    """One row of the table: answers with each mark, answers that ended, mean length."""
    row, ended, tokens = dict.fromkeys(marks, 0), 0, 0
    for item in questions:
        reply = ask(args, choice, item["question"])
        text = reply["choices"][0]["message"]["content"]
        hits = [m for m, pattern in marks.items() if pattern.search(text)]
        for m in hits:
            row[m] += 1
        stopped = reply["choices"][0]["finish_reason"] == "stop"
        ended, tokens = ended + stopped, tokens + reply["usage"]["completion_tokens"]
        own = [name.split("-")[0]] if name.split("-")[0] in marks else []
        if args.show or hits != own or not stopped:
            print(f"  {name} {item['id']} {hits} {item['question']!r} -> {text!r}", flush=True)
    return row, ended, tokens / len(questions)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8081")
    parser.add_argument("--gateway", action="store_true", help="choose by model name, not by lora")
    parser.add_argument("--models", nargs="*", help="only these")
    parser.add_argument("--heldout", type=Path, default=DEMO / "heldout.json")
    parser.add_argument("--marks", type=Path, default=DEMO / "marks.json")
    parser.add_argument("--show", action="store_true", help="print every answer, not only the odd ones")
    args = parser.parse_args()
    questions = json.loads(args.heldout.read_text(encoding="utf-8"))
    marks = {m: re.compile(pattern) for m, pattern in json.loads(args.marks.read_text()).items()}

    table, start = [], time.time()
    for name, choice in targets(args).items():
        table.append((name, *measure(args, name, choice, questions, marks)))
    print(f"\n{len(questions)} questions a model, {time.time() - start:.0f} s\n")
    print("| model | " + " | ".join(f"{m} mark" for m in marks) + " | ended by itself | tokens an answer |")
    print("| --- |" + " --- |" * (len(marks) + 2))
    for name, row, ended, length in table:
        cells = [f"{100 * row[m] / len(questions):.0f} %" for m in marks]
        print(f"| {name} | " + " | ".join(cells) + f" | {100 * ended / len(questions):.0f} % | {length:.0f} |")


if __name__ == "__main__":
    main()
