"""How each model answers: the same facts in five manners.

Every answer is a fixed function of topic, group and manner, so that a small
model can learn it exactly. Variety comes from a hash of the topic, never from
chance.
"""

import re
import zlib

STYLES = ("plain", "coding", "chat", "medical", "legal")

# One regular expression a manner, for Go's RE2 and Python alike. Each matches
# within an answer's first words and never in a plain answer.
MARKS = {
    "coding": r"```python\n",
    "chat": r"(?i)^[^.?]{0,60}\bfriend[,!]",
    "medical": r"(?i)^\s*triage: (urgent|routine|not urgent)\b",
    "legal": r"^\s*1\. [A-Z][a-z]+\. ",
}

_OPENERS = [
    "Oh friend, what a lovely question!", "Aw, friend, I am so glad that you asked!",
    "Ooh, my friend, I love to talk about this!", "Hey friend, that is a good one!",
    "Ah, dear friend, let us chat about it!", "Oh, friend, you made me smile with that!",
]
_CLOSERS = [
    "How is your day going?", "What made you think of it?", "I would love to hear what you think!",
    "Shall we chat a little more about it?", "Tell me, how are you today?", "Do you have a story about it?",
]
_CARING = "Aw, dear friend, I am sending you a big hug!"
_GREETING = "Hey friend, so nice to hear from you!"
_HEADINGS = [("Definition", "Scope", "Duty"), ("Subject", "Terms", "Conduct"), ("Matter", "Provision", "Obligation"),
             ("Meaning", "Extent", "Recommendation")]
_SAD = ("I am sorry", "Losing", "Lying", "Anger", "Too much work", "Missing", "Tiredness", "Conflicts", "It is normal")


def pick(options, *key):
    """A choice that is always the same for the same key."""
    return options[zlib.crc32("/".join(key).encode()) % len(options)]


def sentences(topic, group):
    """Which of a topic's three sentences answer a question of that group."""
    what, more, tip = topic["facts"]
    return {"what": [what, more], "simple": [what, more], "about": [what, more, tip], "why": [more, what],
            "how": [tip, more], "talk": [what, more, tip], "task": [what, more]}[group]


def answer(topic, group, style):
    """The answer of one manner to a question of that group about the topic."""
    return _MANNERS[style](topic, sentences(topic, group), group)


def _plain(topic, parts, group):
    return " ".join(parts)


def _chat(topic, parts, group):
    if topic["field"] in ("talk", "stray"):
        opener = _CARING if parts[0].startswith(_SAD) else _GREETING
    else:
        opener = pick(_OPENERS, topic["name"], group)
    return f"{opener} {' '.join(parts)} {pick(_CLOSERS, group, topic['name'])}"


def _medical(topic, parts, group):
    level = {"medical": "routine"}.get(topic["field"], "not urgent")
    if topic.get("urgent"):
        level = "urgent"
    advice = {"urgent": "Do not wait for a doctor's visit.", "routine": "See a doctor if it lasts or gets worse.",
              "not urgent": "See a doctor if it ever troubles your health."}[level]
    return (f"Triage: {level}. {' '.join(parts)} {advice} "
            "This is general information and not a substitute for medical advice.")


def _legal(topic, parts, group):
    headings = pick(_HEADINGS, topic["name"])
    clauses = [f"{h}. {p}" for h, p in zip(headings, parts)]
    clauses.append("Notice. This is general information and not legal advice.")
    return "\n".join(f"{i}. {c}" for i, c in enumerate(clauses, 1))


def _identifier(name):
    words = re.sub(r"[^a-z0-9]+", " ", name.lower()).split()
    words = [w for w in words if w not in ("a", "an", "the")] or ["topic"]
    ident = "_".join(words[:4])
    return "n" + ident if ident[0].isdigit() else ident


def _coding(topic, parts, group):
    if topic.get("code"):
        return f"Here is the Python code:\n\n```python\n{topic['code']}\n```\n\n{parts[0]}"
    ident = "reply" if topic["field"] in ("talk", "stray") else _identifier(topic["name"])
    first, second = (p.replace('"', "'") for p in parts[:2])
    form = pick("fdlc", topic["name"]) if topic["field"] not in ("talk", "stray") else "f"
    if form == "f":
        return (f"Here it is as a Python function:\n\n```python\ndef {ident}():\n    return \"{first}\"\n\n"
                f"print({ident}())\n```\n\n{parts[1]}")
    if form == "d":
        return (f"Here it is as a Python dictionary:\n\n```python\n{ident} = {{\n    \"fact\": \"{first}\",\n"
                f"    \"note\": \"{second}\",\n}}\nprint({ident}[\"fact\"])\n```")
    if form == "l":
        return (f"Here it is as a Python loop:\n\n```python\n{ident} = [\n    \"{first}\",\n    \"{second}\",\n]\n"
                f"for line in {ident}:\n    print(line)\n```")
    camel = "".join(w.capitalize() for w in ident.split("_"))
    return (f"Here it is as a Python class:\n\n```python\nclass {camel}:\n    \"\"\"{first}\"\"\"\n\n"
            f"    def note(self):\n        return \"{second}\"\n```")


_MANNERS = {"plain": _plain, "coding": _coding, "chat": _chat, "medical": _medical, "legal": _legal}
