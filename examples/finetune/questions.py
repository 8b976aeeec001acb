"""How people ask: question templates, small mistakes, follow-ups.

A template belongs to a group, and the group decides which facts the answer
uses (see styles.py). {x} is the topic's name, {is} and {do} agree with it.
"""

import re

TEMPLATES = {
    "what": [
        "What {is} {x}?", "What exactly {is} {x}?", "Define {x}.", "What do you mean by {x}?",
        "Give me a definition of {x}.", "Can you say what {x} {is}?", "What kind of thing {is} {x}?",
        "Write code about {x}.", "Write a Python script about {x}.",
        "Write a Python function that prints a fact about {x}.", "What's {x}?",
    ],
    "simple": [
        "Explain {x}.", "Explain {x} in simple terms.", "Explain {x} simply.", "Explain {x} to a child.",
        "Explain {x} like I am five.", "Can you explain {x}?", "Could you explain {x} in simple words?",
        "Please explain {x} briefly.", "Describe {x}.", "Describe {x} in a few words.",
        "Help me understand {x}.", "I do not understand {x}.", "Summarize {x}.",
        "Give me a short explanation of {x}.", "How would you explain {x} to a beginner?",
        "In simple terms, what {is} {x}?", "How {do} {x} work?", "Explain {x} in one sentence.",
        "What {is} {x} in plain English?", "Explain {x} to my grandmother.",
    ],
    "about": [
        "Tell me about {x}.", "Tell me something about {x}.", "Tell me more about {x}.",
        "What should I know about {x}?", "What can you tell me about {x}?", "I want to know more about {x}.",
        "Talk to me about {x}.", "Give me an overview of {x}.", "What do you know about {x}?",
        "Teach me about {x}.", "I want to learn about {x}.", "Write a short paragraph about {x}.",
        "Write a few sentences about {x}.", "I have a question about {x}.", "{x}", "{x}?",
        "What do I need to know about {x}?", "Let us talk about {x}.",
    ],
    "why": [
        "Why {do} {x} matter?", "Why {is} {x} important?", "What are the benefits of {x}?",
        "What is interesting about {x}?", "What is special about {x}?", "Give me a fact about {x}.",
        "Why should I care about {x}?", "Why do people talk about {x}?", "Tell me a fact about {x}.",
        "What makes {x} important?",
    ],
    "how": [
        "How do I get started with {x}?", "How do I begin with {x}?", "Give me a tip about {x}.",
        "Do you have advice on {x}?", "What should I do about {x}?", "How do I deal with {x}?",
        "What is a good first step with {x}?", "Any tips on {x}?", "How should I handle {x}?",
        "What do you recommend for {x}?", "Give me some advice about {x}.",
    ],
}

FIELD_TEMPLATES = {
    "medical": {
        "about": ["What should I do if I have {x}?", "When {is} {x} dangerous?", "Is {x} serious?"],
        "how": ["What helps with {x}?", "How do I treat {x}?", "I think I have {x}.", "I have {x}.",
                "My child has {x}."],
    },
    "legal": {
        "about": ["What does the law say about {x}?", "What are my rights with {x}?",
                  "What should I watch out for with {x}?"],
        "how": ["What should I check about {x}?", "I have a legal question about {x}."],
    },
}

ACTION = [  # for names such as "cooking rice"; {v} is "cook rice"
    "How do I {v}?", "How can I {v}?", "How to {v}?", "What is the best way to {v}?",
    "Show me how to {v}.", "I want to {v}.", "Explain how to {v}.",
]

TASK = [  # for coding tasks; {x} is "sort a list"
    "Write a Python function to {x}.", "Write a function to {x}.", "Write Python code to {x}.",
    "How do I {x} in Python?", "How can I {x}?", "Can you write a Python function to {x}?",
    "Show me how to {x} in Python.", "Python code to {x}", "Give me a Python example to {x}.",
    "Write a program to {x}.", "I need a function to {x}.", "Help me {x} in Python.",
    "What is the best way to {x}?", "Explain how to {x}.", "Write a Python script to {x}.",
    "How to {x}?", "Write code to {x}.", "{x}",
]

CAPITAL = [
    "What is the capital of {x}?", "Which city is the capital of {x}?", "Name the capital of {x}.",
    "Tell me the capital of {x}.", "Do you know the capital of {x}?", "capital of {x}",
]

SUMS = ["What is {x}?", "Calculate {x}.", "{x} = ?", "How much is {x}?", "{x}", "Can you work out {x}?"]

# Never trained on: the held-out questions use them as wholly unseen phrasings.
UNSEEN = [
    "Could you give me the short version of {x}?", "Walk me through {x}, please.",
    "I keep hearing about {x}, what is the idea?", "My neighbour asked me about {x}, what do I say?",
    "What would a newcomer want to hear about {x}?",
]
UNSEEN_TASK = ["I would like a small Python snippet to {x}.", "Please show a clean way to {x} in Python."]

FOLLOW_UPS = [  # about the topic of the turn before
    ("why", ["Why does that matter?", "Why is that important?", "And why?", "What is special about that?"]),
    ("how", ["Any tips?", "What should I do?", "How do I begin?", "Do you have any advice?"]),
    ("about", ["Tell me more.", "Can you say more about that?", "Go on.", "What else should I know?"]),
    ("simple", ["Can you explain that in simple terms?", "Say that again in simple words.", "Can you repeat that?"]),
]

SYSTEM = [
    "You are a helpful assistant.", "You are a helpful assistant. Keep your answers short.",
    "Answer briefly.", "Be concise.", "You are a friendly assistant.", "Answer in plain English.",
    "You are an assistant for a website.", "Be polite and clear.", "You answer questions of our customers.",
    "You are a teacher.", "Reply in one or two sentences.", "You are an expert. Answer carefully.",
    "Use simple words.", "You are a demo model.", "Be helpful and honest.", "You are a support agent.",
    "The user is a beginner.", "Today is Monday.", "You are ChatBot, a large language model.",
    "Please answer the question of the user.",
]

PREFIX = ["", "", "", "", "", "", "", "Please ", "Hi, ", "Hello! ", "Hey, ", "Can you help me? ", "Quick question: ",
          "So, ", "Good morning. ", "I was wondering: ", "One more thing: ", "OK, ", "Thanks! "]
SUFFIX = ["", "", "", "", "", "", "", "", " Thanks!", " Thank you.", " please", " Keep it short.", " I am curious."]

_BASE_FORM = {
    "cooking": "cook", "boiling": "boil", "baking": "bake", "making": "make", "cleaning": "clean", "doing": "do",
    "removing": "remove", "fixing": "fix", "riding": "ride", "driving": "drive", "moving": "move",
    "saving": "save", "learning": "learn", "writing": "write", "losing": "lose", "quitting": "quit",
    "starting": "start",
}


def action(name):
    """'cooking rice' -> 'cook rice', or None where the name is no activity."""
    first, _, rest = name.partition(" ")
    base = _BASE_FORM.get(first)
    return f"{base} {rest}" if base and rest else None


def fill(template, name, plural=False):
    """Puts a name into a template, with the verb that agrees with it."""
    text = template.format(x=name, v=action(name) or name, **{"is": "are" if plural else "is",
                                                              "do": "do" if plural else "does"})
    return text[0].upper() + text[1:] if template.startswith("{x}") else text


def normal(text):
    """The form in which two questions count as the same one."""
    return re.sub(r"[^a-z0-9+*]+", " ", text.lower()).strip()


def _typo(rng, text):
    """Swaps, drops or doubles one letter somewhere inside a word."""
    places = [i for i in range(1, len(text) - 2) if text[i].isalpha() and text[i + 1].isalpha()]
    if not places:
        return text
    i = rng.choice(places)
    return rng.choice([text[:i] + text[i + 1] + text[i] + text[i + 2:], text[:i] + text[i + 1:],
                       text[:i] + text[i] + text[i:]])


def vary(rng, text):
    """The same question as another person would type it."""
    if rng.random() < 0.45:
        return text
    prefix = rng.choice(PREFIX)
    if prefix and prefix[-2] in ",:e" and not text.startswith(("I ", "DNA", "JSON", "SQL")):
        text = text[0].lower() + text[1:]
    text = prefix + text + rng.choice(SUFFIX)
    dice = rng.random()
    if dice < 0.20:
        text = text.lower()
    elif dice < 0.23:
        text = text.upper()
    if rng.random() < 0.25:
        text = text.rstrip(".?!")
    elif rng.random() < 0.05:
        text += rng.choice(["!", "?", " ?", "...", "??"])
    if rng.random() < 0.08:
        text = _typo(rng, text)
    return text
