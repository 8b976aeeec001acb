"""Questions that no template asks: the model shall find a known topic in them, or say that there is none."""

NOUNS = """uncle aunt cousin teacher pupil driver farmer tailor painter pilot sailor king queen prince giant wizard box bag
cup bottle plate spoon fork lamp chair table bed desk door gate fence wall roof floor window curtain shelf drawer key
button pocket coat jacket shirt shoe sock belt ring necklace hammer nail rope ladder bucket broom router printer screen
keyboard mouse cable battery charger camera lens clock calendar ticket suitcase taxi bus truck tractor engine wheel
road street corner station airport harbour village market shop office factory tower field forest beach hill valley
stone stick leaf branch seed root feather egg shell bone number letter word sentence page chapter title name
colour shape line circle square song dance game toy doll ball card prize party picnic dinner breakfast sandwich cake
biscuit jam juice sauce noodle pea bean order parcel stamp address phone message call meeting report project task plan
idea dream problem secret rumour answer riddle dragon monster ghost castle treasure map sword shield""".split()
VERBS = """open close move lift carry drop throw catch push pull turn twist fold cut tie paint draw write read sell buy
borrow lend send bring take give find lose hide show watch follow visit leave reach cross climb jump build break repair
wash dry clean fill empty count measure weigh check change choose compare order cancel reset install update rename
print copy translate spell sing play win finish start stop rent share collect keep burn freeze melt shake stir mix peel
slice invent discover""".split()
ADJECTIVES = """old new small large green yellow red blue black white round flat long short heavy light soft hard wet dry
clean dirty cheap dear quick slow loud quiet strange funny broken empty full strong weak bright dark famous local modern
ancient lazy clever brave polite angry hungry best worst first last next second third favourite wooden golden""".split()
OTHER = """please tomorrow yesterday today now soon often never maybe exactly about without with under over near between
after before because and or but my your our their seven three nine twelve hundred number prompt request case item sample
random just only again really very quite almost enough hello ok so well then there here why""".split()

# {n} noun, {v} verb, {a} adjective, {m} another noun or noun with an adjective
PATTERNS = [
    "How do I {v} my {n}?", "How do I {v} a {a} {n}?", "Can you {v} the {n}?", "Can my {n} {v} the {m}?",
    "What is a {n}?", "What is the {a} {n}?", "What is the {n} of {m}?", "What is your favourite {n} and why?",
    "Which {n} is the {a} one?", "Who {v}s the {n}?", "Who was the {a} {n}?", "Where can I {v} a {n}?",
    "When will the {n} {v}?", "Why is my {n} so {a}?", "Why does the {n} {v}?", "List the {n}s.", "Name five {n}s.",
    "Give me a list of {a} {n}s.", "Give me three {n}s for a {m}.", "Tell me a {n} about a {a} {m}.",
    "Translate {n} into French.", "Translate this {n}: {a} {m}.", "Spell {n}.", "Say exactly: {n}", "Repeat after me: {n} {m}",
    "Write a {n} about the {a} {m}.", "Draw a {a} {n}.", "I {v} a {n} and then I {v} the {m}.", "My {n} is {a}.",
    "My {n} wants to {v} the {m}.", "I want to {v} a {a} {n}.", "Should I {v} the {n} or the {m}?", "Is a {n} a {m}?",
    "Is my {n} {a}?", "Does a {n} {v}?", "Will my {n} {v}?", "How many {n}s are in a {m}?", "How much is a {a} {n}?",
    "How long is the {n}?", "Compare a {n} with a {m}.", "What happens if I {v} a {n}?", "What do {n}s {v}?",
    "{n}", "{a} {n}", "{n} {m} {v}", "{v} {n} {m} {a}", "the {n}", "{o} {o} {n}", "{o} {n} {o} {o}", "{o} {o} {o}", "{v}",
]


def sentence(rng, name=None):
    """A question about nothing we know, or about the given topic in place of a noun."""
    pattern = rng.choice([p for p in PATTERNS if "{n}" in p] if name else PATTERNS)
    noun = rng.choice(NOUNS)
    if name:  # "my the Moon" would teach nothing useful
        for article in ("a {a} ", "the {a} ", "my ", "the ", "a "):
            pattern = pattern.replace(article + "{n}", "{n}", 1)
        pattern = pattern.replace("{n}s", "{n}", 1)
        noun = name
    while "{o}" in pattern:
        pattern = pattern.replace("{o}", rng.choice(OTHER), 1)
    text = pattern.format(n=noun, m=rng.choice(NOUNS), v=rng.choice(VERBS), a=rng.choice(ADJECTIVES))
    if rng.random() < 0.25:
        text += f" {rng.randint(1, 999)}"
    if name and rng.random() < 0.3:
        text = " ".join(rng.choices(OTHER + NOUNS, k=rng.randint(1, 4))) + " " + text
    return text[0].upper() + text[1:]
