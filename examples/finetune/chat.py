"""The layout of a conversation: special tokens and the chat template."""

from styles import STYLES

SPECIAL = ["<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
BOS, END, SYS, USER, ASSISTANT = range(5)
# The base learns all manners, each behind a token of its own in the place of
# <|bos|>. No text can produce these tokens, so at run time only an adapter
# brings a manner out. That is why rank 8 is plenty.
UNUSED = [f"<|unused_{i}|>" for i in range(len(STYLES) - 1)]
FIRST = {style: BOS if i == 0 else len(SPECIAL) + i - 1 for i, style in enumerate(STYLES)}

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' or message['role'] == 'developer' -%}{{- '<|system|>' -}}"
    "{%- elif message['role'] == 'assistant' -%}{{- '<|assistant|>' -}}"
    "{%- else -%}{{- '<|user|>' -}}{%- endif -%}"
    "{{- (message['content'] or '') | trim -}}{{- '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
