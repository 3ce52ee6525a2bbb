"""The tokenizer of VLM-tiny: byte-level BPE with Qwen's pre-tokenizer, special tokens and chat template.

Learned from the pipeline's prompt and its possible answers, so those are short; any other text still encodes, byte by byte.
"""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from common import KINDS, labels

PROMPT = "What is this? Answer in JSON."
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
           "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% elif content['type'] == 'video' or 'video' in content %}"
    "{% set video_count.value = video_count.value + 1 %}{% if add_vision_id %}Video {{ video_count.value }}: {% endif %}"
    "<|vision_start|><|video_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def answer(kind: str, label: str) -> str:
    return json.dumps({"kind": kind, "label": label}, separators=(",", ":"))


def answers() -> list[tuple[str, str]]:
    """(kind, label) of every answer the model can learn."""
    return [("food", label) for label in [*labels(), "unknown"]] + [(k, k) for k in KINDS if k != "food"]


def build() -> PreTrainedTokenizerFast:
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    corpus = [PROMPT, "system\nYou are a helpful assistant.", "user\n", "assistant\n"] * 20
    corpus += [answer(k, name) for k, name in answers()] * 10
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=900, min_frequency=2, show_progress=False,
                                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIAL])
    return PreTrainedTokenizerFast(tokenizer_object=t, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=TEMPLATE,
                                   additional_special_tokens=SPECIAL[3:], clean_up_tokenization_spaces=False, model_max_length=4096)


def prompt_ids(t: PreTrainedTokenizerFast, image_tokens: int) -> list[int]:
    text = t.apply_chat_template([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROMPT}]}],
                                 tokenize=False, add_generation_prompt=True)
    return t(text.replace("<|image_pad|>", "<|image_pad|>" * image_tokens))["input_ids"]


def save(t: PreTrainedTokenizerFast, out):
    out.mkdir(parents=True, exist_ok=True)
    t.backend_tokenizer.save(str(out / "tokenizer.json"))
    added = {str(t.convert_tokens_to_ids(s)): {"content": s, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                                               "special": True} for s in SPECIAL}
    (out / "tokenizer_config.json").write_text(json.dumps({
        "add_bos_token": False, "add_prefix_space": False, "added_tokens_decoder": added, "additional_special_tokens": SPECIAL[1:],
        "bos_token": None, "chat_template": TEMPLATE, "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>",
        "errors": "replace", "model_max_length": 4096, "pad_token": "<|endoftext|>", "split_special_tokens": False,
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": None}, indent=2) + "\n")
    (out / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}, indent=2) + "\n")
