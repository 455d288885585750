"""Our tokenizer against transformers' on the same folder: ids, text and chat templates."""

import json

import models
import pytest
from transformers import AutoTokenizer

from r1cli.backend.tokenizer import Tokenizer
from r1cli.errors import InputError

TEXTS = [
    "",
    " ",
    "Let me think: 12 + 30 = 42.",
    "naïve café, déjà vu ",
    "日本語のテキストと emoji 🎉👩‍🚀",
    "tabs\tand\n\n\nnew lines \r\n end",
    f"{models.TURN}user\nWhat?{models.EOS}",
    "<think> first </think>\n<answer> 42 </answer>",
    "a" * 300,
    "\x00\x7f\u200b",
    "  leading",
    f"{models.BOS}written out",
    "f(x) = x**2  # don't",
    "1234567890.0987654321",
]
CHAT = [
    {"role": "system", "content": "Be brief. <b>&amp;</b>"},
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "<think>easy</think>4"},
    {"role": "user", "content": "naïve ' \" ?"},
]
TEMPLATE = """{%- if messages[0]['role'] == 'system' %}
    {{- bos_token + '<|turn|>system\\n' + messages[0]['content'] + eos_token + '\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'system' %}{% continue %}{% endif %}
    {%- if message.role == 'assistant' %}
        {%- generation %}
            {{- '<|turn|>assistant\\n' + message.content.split('</think>')[-1] + eos_token }}
        {%- endgeneration %}
    {%- else %}
    {{ '<|turn|>' + message.role }}
    {{ message | tojson }}
    {%- endif %}
{%- endfor %}
{%- set ns = namespace(count=messages | length) %}
{%- if tools %}{{ raise_exception('no tools') }}{% endif %}
{%- if add_generation_prompt %}{{ '<|turn|>assistant ' ~ ns.count }}
{% endif %}
"""


@pytest.fixture(params=[False, True], ids=["plain", "bos"])
def folder(tmp_path, request):
    models.write_tokenizer(tmp_path, bos=request.param)
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": 1}))
    return tmp_path


def change(folder, **settings):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def test_encode_and_decode_equal_transformers(folder):
    """Special tokens in the text, bytes outside ASCII, white space, the post-processor's beginning-of-text token."""
    ours, theirs = Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        for add_special in (False, True):
            ids = ours.encode(text, add_special)
            assert ids == theirs.encode(text, add_special_tokens=add_special)
            assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False)
        assert ours.decode(ours.encode(text, False)) == text
    assert (ours.encode("x", True)[0] == 0) == ("bos_token" in ours.specials)


def test_bos_that_only_the_settings_ask_for(tmp_path):
    """Llama-style folders with add_bos_token get it once: neither left out nor doubled."""
    models.write_tokenizer(tmp_path)
    change(tmp_path, add_bos_token=True, bos_token={"content": models.BOS, "special": True})
    tokenizer = Tokenizer.load(tmp_path)
    plain = tokenizer.encode("hello", False)
    assert tokenizer.encode("hello", True) == [0, *plain] == tokenizer.encode(models.BOS + "hello", True)
    models.write_tokenizer(tmp_path, bos=True)
    change(tmp_path, add_bos_token=True)
    assert Tokenizer.load(tmp_path).encode("hello", True) == [0, *plain]


def test_saved_truncation_and_padding_are_switched_off(folder):
    """A tokenizer.json saved in the middle of somebody's training cuts texts; ours must not."""
    import tokenizers

    expected = Tokenizer.load(folder).encode("a b c d e f g h", True)
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.enable_truncation(3)
    backend.enable_padding(length=50)
    backend.save(str(folder / "tokenizer.json"))
    assert Tokenizer.load(folder).encode("a b c d e f g h", True) == expected


@pytest.mark.parametrize("place", ["settings", "file", "list"])
@pytest.mark.parametrize("prompt", [True, False])
def test_chat_template_equals_transformers(tmp_path, place, prompt):
    """The dialect of published templates: namespaces, loop controls, tojson without HTML escapes, generation blocks."""
    models.write_tokenizer(tmp_path, bos=True)
    if place == "file":
        (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    else:
        named = [{"name": "tool_use", "template": "wrong"}, {"name": "default", "template": TEMPLATE}]
        change(tmp_path, chat_template=TEMPLATE if place == "settings" else named)
    ours, theirs = Tokenizer.load(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    expected = theirs.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=prompt)
    assert ours.render_chat(CHAT, prompt) == expected
    assert "naïve" in expected and "<b>&amp;</b>" in expected
    if prompt:
        assert ours.render_chat(CHAT) == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "no chat template"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% if %}", "chat template failed"),
        ("{{ ''.__class__.__mro__ }}", "chat template failed"),
    ],
)
def test_chat_templates_that_fail(tmp_path, template, message):
    """None, one that refuses the messages, one that does not parse, one that leaves the sandbox: one line each."""
    models.write_tokenizer(tmp_path)
    if template:
        change(tmp_path, chat_template=template)
    with pytest.raises(InputError, match=message) as caught:
        Tokenizer.load(tmp_path).render_chat(CHAT)
    assert "\n" not in str(caught.value)


def test_missing_and_broken_tokenizers(tmp_path):
    """A checkpoint without a tokenizer is one clear line; so is a file that is none, or settings that are no JSON."""
    with pytest.raises(InputError, match=r"no tokenizer.json \(the tokenizer\)"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer.json: not a tokenizer") as caught:
        Tokenizer.load(tmp_path)
    assert "\n" not in str(caught.value)
    models.write_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(InputError, match=r"tokenizer_config.json: not readable as JSON"):
        Tokenizer.load(tmp_path)
