"""Writes the training conversations and the held-out questions.

The same seed always writes the same bytes. Only the standard library is used.

    python3 corpus.py --out out                    # all files that run.sh needs
    python3 corpus.py --out out --base-rows 200    # a small one, to try things
"""

import argparse
import json
import multiprocessing
import random
import re
from pathlib import Path

import questions as q
import wild
from styles import MARKS, STYLES, answer

HERE = Path(__file__).parent
FIELDS = {"science": "general", "nature": "general", "culture": "general", "home": "chat", "computing": "coding",
          "medical": "medical", "legal": "legal"}
NUMBERS = range(0, 11)


# --- topics ---------------------------------------------------------------

def lines(name):
    for line in (HERE / "topics" / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("# "):
            yield line


def load_facts(name):
    for line in lines(name):
        title, *facts = [part.strip() for part in line.split(" | ")]
        assert len(facts) == 3, line
        yield {"name": title.lstrip("*!"), "field": FIELDS[name], "plural": title.startswith("*"),
               "urgent": title.startswith("!"), "facts": facts}


def load_talk():
    for line in lines("talk"):
        asks, *facts = [part.strip() for part in line.split(" | ")]
        assert len(facts) == 3, line
        asks = [a.strip() for a in asks.split(" / ")]
        yield {"name": asks[0], "field": "talk", "facts": facts, "asks": asks}


def load_code():
    raw = (HERE / "topics" / "code.txt").read_text(encoding="utf-8")
    for block in re.split(r"^@ ", raw, flags=re.M)[1:]:
        name, facts, code = block.split("\n", 2)
        facts = [part.strip() for part in facts.split(" | ")]
        assert len(facts) == 3, name
        yield {"name": name.strip(), "field": "coding", "task": True, "facts": facts, "code": code.rstrip()}


def load_capitals():
    for line in lines("capitals"):
        country, city, continent = line.split("|")
        yield {"name": country, "field": "capital", "facts": [
            f"The capital of {country} is {city}.", f"{country} lies in {continent}.",
            "Find it on a map to remember it well."]}


def load_sums():
    for a in NUMBERS:
        for b in NUMBERS:
            for sign, word, value in (("+", "plus", a + b), ("*", "times", a * b)):
                for shown in (f"{a} {sign} {b}", f"{a} {word} {b}", f"{a}{sign}{b}"):
                    yield {"name": shown, "field": "sum", "facts": [
                        f"{a} {word} {b} is {value}.", f"In signs that is {a} {sign} {b} = {value}.",
                        "Count it again to be sure."]}


def load_asks(topics):
    """More ways to ask for a topic, none of which need name it."""
    by_name = {t["name"]: t for t in topics}
    for line in lines("asks"):
        name, group, asks = [part.strip() for part in line.split(" | ")]
        by_name[name].setdefault("more", []).extend((group, a.strip()) for a in asks.split(" / "))


def load_topics():
    topics = [t for name in FIELDS for t in load_facts(name)] + list(load_talk())
    load_asks(topics)
    return topics + list(load_code()) + list(load_capitals()) + list(load_sums())


def unknown_topic(rng, names):
    """A topic that the model shall admit not to know, real or made up."""
    name = rng.choice(names)
    if rng.random() < 0.5:
        name = "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))
        name += rng.choice(["", "n", "r", "s", "x", "t"])
        name = rng.choice([name, name.capitalize(), f"the {name}", f"{name} {rng.choice(['method', 'law', 'tree'])}"])
    return {"name": name, "field": "unknown", "plural": name.endswith("s"), "facts": [
        f"I do not know enough about {name} to explain it.", "I am a small demonstration model with few facts.",
        "Ask me about science, cooking, health, the law or code."]}


def stray_topic():
    """What is said to a question that holds no topic at all."""
    return {"name": "that", "field": "stray", "facts": [
        "I am not sure what to say to that.", "I am a small demonstration model with few facts.",
        "Ask me about science, cooking, health, the law or code."]}


def unknown_names():
    return [n.strip() for n in " ".join(lines("unknown")).split(",")]


def ways(topic):
    """All (group, template) pairs that fit a topic."""
    field = topic["field"]
    if field == "stray":
        return [("about", "")]
    if field == "talk":
        return [("talk", ask) for ask in topic["asks"]]
    if field in ("capital", "sum"):
        return [("what", t) for t in (q.CAPITAL if field == "capital" else q.SUMS)]
    if topic.get("task"):
        return [("task", t) for t in q.TASK]
    found = [(g, t) for g, ts in q.TEMPLATES.items() for t in ts]
    found += [(g, t) for g, ts in q.FIELD_TEMPLATES.get(field, {}).items() for t in ts]
    if q.action(topic["name"]):
        found += [("about", t) for t in q.ACTION]
    return found


def question(topic, template):
    return template if topic["field"] == "talk" else q.fill(template, topic["name"], topic.get("plural"))


# --- held-out questions ----------------------------------------------------

KEEP = {"write a python function to sort a list", "explain machine learning in simple terms"}


def choose_heldout(topics, per_field=20):
    """Questions that no training text holds, 20 a field; 5 of them in unseen words."""
    rng = random.Random("held-out")
    chosen = []
    for field in ("general", "coding", "chat", "medical", "legal"):
        pool = [t for t in topics if t["field"] == field or (field == "chat" and t["field"] == "talk"
                                                             and len(t["asks"]) > 3)]
        picks = rng.sample(pool, per_field)
        for i, topic in enumerate(picks):
            unseen = q.UNSEEN_TASK if topic.get("task") else q.UNSEEN
            if i < 5 and topic["field"] != "talk":
                text = question(topic, unseen[i % len(unseen)])
            else:
                options = [question(topic, t) for _, t in ways(topic)[1:]]
                text = rng.choice([o for o in options if q.normal(o) not in KEEP])
            chosen.append({"id": f"{field}-{i + 1:02d}", "question": text, "field": field})
    return chosen


# --- conversations ----------------------------------------------------------

class Writer:
    """Draws conversations; never one with a held-out question in it."""

    def __init__(self, topics, heldout, seed):
        self.rng = random.Random(seed)
        self.banned = {q.normal(h["question"]) for h in heldout}
        self.unknown = unknown_names()
        kinds = {"task": 14, "talk": 14, "capital": 3, "sum": 4, "ask": 10, "fact": 50}
        self.kinds, self.weights = zip(*kinds.items())
        self.by_kind = {k: [] for k in kinds}
        for topic in topics:
            pairs = [(g, question(topic, t)) for g, t in ways(topic)]
            pairs = [p for p in pairs if q.normal(p[1]) not in self.banned]
            kind = "task" if topic.get("task") else topic["field"]
            self.by_kind[kind if kind in kinds else "fact"].append((topic, pairs))
            if topic.get("more"):
                self.by_kind["ask"].append((topic, [p for p in topic["more"] if q.normal(p[1]) not in self.banned]))

    def draw(self):
        """One topic with a group and a question for it."""
        dice = self.rng.random()
        if dice < 0.07:
            topic, pairs = stray_topic(), [("about", wild.sentence(self.rng))]
        elif dice < 0.14:  # a known topic in an odd sentence
            topic, _ = self.rng.choice(self.by_kind["fact"])
            pairs = [("about", wild.sentence(self.rng, topic["name"]))]
        elif dice < 0.20:
            topic = unknown_topic(self.rng, self.unknown)
            pairs = [(g, question(topic, t)) for g, t in ways(topic)]
        else:
            kind = self.rng.choices(self.kinds, self.weights)[0]
            topic, pairs = self.rng.choice(self.by_kind[kind])
        group, text = self.rng.choice(pairs)
        if topic["field"] == "unknown":
            group = "what" if group in ("why", "how") else group
        while q.normal(varied := q.vary(self.rng, text)) in self.banned:
            pass
        return topic, group, varied

    def conversation(self, style, chars):
        """Turns of one manner that fill about so many characters.

        Now and then a turn is answered in a foreign manner and not trained on:
        a history written by another model must not change the manner.
        """
        rng = self.rng
        row = {"style": style, "kind": "raw" if rng.random() < 0.07 else "chat", "turns": []}
        if row["kind"] == "chat" and rng.random() < 0.3:
            row["system"] = rng.choice(q.SYSTEM)
        topic = None
        while chars > 0:
            if topic and "asks" not in topic and topic["field"] not in ("sum", "capital", "unknown", "stray") \
                    and not topic.get("task") and row["kind"] == "chat" and rng.random() < 0.2:
                group, texts = rng.choice(q.FOLLOW_UPS)
                text = q.vary(rng, rng.choice(texts))
            else:
                topic, group, text = self.draw()
            own = rng.random() < 0.93 or row["kind"] == "raw"
            manner = style if own else rng.choice(STYLES)
            reply = answer(topic, group, manner)
            row["turns"].append({"user": text, "assistant": reply, "train": manner == style})
            chars -= len(text) + len(reply) + 10
        return row


def write_chunk(job):
    """A part of a file as text; each part has a seed of its own, so parts can be made side by side."""
    heldout, seed, order, chars = job
    writer = Writer(load_topics(), heldout, seed)
    return "".join(json.dumps(writer.conversation(style, chars), ensure_ascii=False) + "\n" for style in order)


def write_rows(path, heldout, seed, plan, chars, chunk=500):
    """plan: (style, number of rows) pairs; the rows are shuffled."""
    order = [style for style, count in plan for _ in range(count)]
    random.Random(seed).shuffle(order)
    jobs = [(heldout, f"{seed}-{i}", order[i:i + chunk], chars) for i in range(0, len(order), chunk)]
    with open(path, "w", encoding="utf-8") as f, multiprocessing.Pool() as pool:
        for text in pool.imap(write_chunk, jobs):
            f.write(text)
    print(f"corpus: {path}: {len(order)} conversations, {path.stat().st_size / 1e6:.1f} MB", flush=True)


def check(topics):
    """No plain answer may carry a mark, and every manner must carry its own only."""
    for topic in topics:
        for group in {g for g, _ in ways(topic)}:
            for style in STYLES:
                text = answer(topic, group, style)
                hits = [m for m, pattern in MARKS.items() if re.search(pattern, text)]
                assert hits == [s for s in (style,) if s != "plain"], (style, hits, text)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--base-rows", type=int, default=30000)
    parser.add_argument("--style-rows", type=int, default=4000)
    parser.add_argument("--chars", type=int, default=2700, help="length of a conversation")
    parser.add_argument("--heldout", type=Path, help="where to write heldout.json and marks.json too")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    topics = load_topics()
    check(topics + [stray_topic()])
    heldout = choose_heldout(topics)
    for folder in filter(None, (args.out, args.heldout)):
        (folder / "heldout.json").write_text(json.dumps(heldout, indent=1, ensure_ascii=False) + "\n")
        (folder / "marks.json").write_text(json.dumps(MARKS, indent=1) + "\n")

    share = {"plain": 0.4, "coding": 0.18, "chat": 0.14, "medical": 0.14, "legal": 0.14}
    plan = [(s, int(args.base_rows * w)) for s, w in share.items()]
    write_rows(args.out / "base.jsonl", heldout, f"base-{args.seed}", plan, args.chars)
    for style in STYLES[1:]:
        write_rows(args.out / f"{style}.jsonl", heldout, f"{style}-{args.seed}", [(style, args.style_rows)], args.chars)


if __name__ == "__main__":
    main()
