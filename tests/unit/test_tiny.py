"""The tiny base: its task, corpus, tokenizer, recipe and the checkpoint that ships."""

import json
import random
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer

import r1cli.tiny
from r1cli.algorithms.settings import GrpoSettings, validate
from r1cli.backend.checkpoint import load_model, read_config
from r1cli.prompts.templates import R1_ZERO
from r1cli.runs import BASES
from r1cli.tiny.accept import accept, value_reached
from r1cli.tiny.corpus import CORPUS_VERSION, Mix, chain, document
from r1cli.tiny.pretrain import DEFAULTS, RATES, SHAPES, Recipe, digest_of, padded_hidden, pretrain, write_checkpoint
from r1cli.tiny.task import draw, held_out, problem, question
from r1cli.tiny.tokens import END, PREFIX, build_tokenizer

CHECKPOINT = Path(r1cli.tiny.__file__).parent / "checkpoint"
SHIPPED = {name: Path(r1cli.tiny.__file__).parent / folder for name, folder in BASES.items()}
FIRST = {"id": "sum-train-0-0", "prompt": "Ann 4, Bob 6, Cat 1, Dan 8. Total?", "answer": "19", "task": "sum"}
SHORT = Recipe(seed=5, steps=3, documents=16)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The recipe promises the same bytes for one thread only."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=SHIPPED)
def shipped(request) -> Path:
    """The folder of each base that ships."""
    return SHIPPED[request.param]


@pytest.fixture
def record(shipped) -> dict:
    return json.loads((shipped / "r1.json").read_text())


@pytest.fixture(scope="module")
def documents() -> list[str]:
    rng = random.Random(11)
    return [document(rng, Mix()) for _ in range(200)]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> Path:
    """A checkpoint after three updates, written by the program's own writer."""
    folder = tmp_path_factory.mktemp("untrained")
    write_checkpoint(folder, *pretrain(SHORT, Mix(), report_every=0), SHORT, Mix())
    return folder


def digits_of(text: str) -> list[int]:
    return [int(digit) for digit in re.findall(r"[A-Z][a-z]{2} ([1-9])", text.partition(". Total?")[0])]


def test_the_splits_share_no_question():
    train = [tuple(draw(seed, index, "train")) for seed in (0, 1) for index in range(1500)]
    test = [tuple(draw(seed, index, "test")) for seed in (0, 1) for index in range(1500)]
    assert not any(held_out(list(digits)) for digits in train)
    assert all(held_out(list(digits)) for digits in test)
    assert not set(train) & set(test)


def test_every_length_is_drawn_equally_often():
    lengths = [len(draw(3, index, "test")) for index in range(3000)]
    assert all(400 < lengths.count(size) < 600 for size in range(3, 9))
    assert {digit for index in range(200) for digit in draw(3, index, "train")} == set(range(1, 10))


def test_a_question_is_the_same_whenever_and_wherever_it_is_drawn():
    forwards = [problem(7, index, "train") for index in range(50)]
    assert [problem(7, index, "train") for index in reversed(range(50))] == forwards[::-1]
    assert problem(0, 0, "train") == FIRST
    assert problem(0, 0, "test")["prompt"] != FIRST["prompt"]
    assert len({problem(7, index, "train")["id"] for index in range(500)}) == 500


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="train, test"):
        draw(0, 0, "validation")


def test_answers_are_the_sums():
    for index in range(300):
        record = problem(1, index, "test")
        assert record["answer"] == str(sum(digits_of(record["prompt"])))
        assert question(digits_of(record["prompt"])) == record["prompt"]


def test_the_corpus_holds_no_held_out_question():
    rng = random.Random(2)
    assert not any(held_out(digits_of(document(rng, Mix()).replace(PREFIX, ""))) for _ in range(3000))


def test_chains_without_errors_are_right_and_errors_come_at_the_stated_rate():
    rng, clean, digits = random.Random(3), Mix(step_errors=(0.0, 0.0)), [7, 5, 8, 3]
    for language in ("en", "zh", "mix"):
        assert chain(rng, digits, language, clean)[1] == 23
    assert chain(rng, [7, 5, 8], "zh", clean)[0] == "Ann 七, Bob 五得一二, Cat 八得二零"
    wrong = sum(chain(rng, [7, 5], "en", Mix(step_errors=(0.3, 0.0), repaired=0.0))[1] != 12 for _ in range(2000))
    assert 0.25 < wrong / 2000 < 0.35


def test_the_tokenizer_round_trips(documents):
    tokenizer = build_tokenizer()
    for text in [*(text + END for text in documents), "Any other text, \\boxed{12} < 3!\n"]:
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_the_template_is_one_token_although_it_contains_the_tags():
    pieces = build_tokenizer().encode(R1_ZERO.format(prompt=question([7, 5]))).tokens
    assert pieces == [PREFIX, "Ann ", "7", ", Bob ", "5", ". Total?", " Assistant:"]


def test_hugging_face_gives_the_same_ids(documents):
    from transformers import AutoTokenizer

    theirs, ours = AutoTokenizer.from_pretrained(CHECKPOINT), Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))
    assert theirs.eos_token == END
    for text in documents:
        ids = ours.encode(text).ids
        assert theirs(text)["input_ids"] == ids
        assert theirs.decode(ids) == text


def test_the_checkpoint_is_what_the_record_says(shipped, record):
    assert record["sha256"]["model.safetensors"] == digest_of(shipped / "model.safetensors")
    assert record["corpus"]["version"] == CORPUS_VERSION
    assert json.loads((shipped / "tokenizer.json").read_text()) == json.loads(build_tokenizer().to_str())


def test_one_command_repeats_the_recipe(shipped, record):
    """The seed and the number of updates are the program's defaults; name, shape and learning rate go together."""
    assert SHIPPED[record["name"]] == shipped
    assert record["recipe"] == asdict(Recipe(lr=RATES[record["name"]])) and RATES["tiny"] == Recipe().lr
    assert record["corpus"] == json.loads(json.dumps({"version": CORPUS_VERSION, **asdict(Mix())}))
    config = json.loads((shipped / "config.json").read_text())
    assert SHAPES[record["name"]].items() <= config.items()


def test_the_checkpoint_is_small_and_its_heads_fit_common_kernels(shipped):
    assert (shipped / "model.safetensors").stat().st_size <= 1_000_000
    assert read_config(shipped).head_dim == 32
    with safe_open(shipped / "model.safetensors", framework="pt") as content:
        assert {content.get_slice(name).get_dtype() for name in content.keys()} == {"BF16"}  # noqa: SIM118


def test_the_student_is_a_third_of_the_base():
    """What r1 distill's examples and the paper in miniature say of it."""
    sizes = {name: json.loads((folder / "r1.json").read_text())["parameters"] for name, folder in SHIPPED.items()}
    assert sizes == {"tiny": 290976, "tiny-student": 91264}


def test_recorded_hyper_parameters_are_ones_that_the_program_takes(record):
    assert record["defaults"] == DEFAULTS
    validate(GrpoSettings.from_dict(DEFAULTS["grpo"]))


def test_hugging_face_computes_the_same_logits(documents):
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(CHECKPOINT, dtype=torch.float32)
    ours = load_model(CHECKPOINT, dtype=torch.float32, device="cpu")
    tokenizer = build_tokenizer()
    assert theirs.generation_config.eos_token_id == tokenizer.token_to_id(END)
    with torch.no_grad():
        for text in documents[:20]:
            ids = torch.tensor([tokenizer.encode(text).ids])
            expected = theirs(ids).logits[0]
            torch.testing.assert_close(ours.logits(padded_hidden(ours, ids)[0]), expected, atol=1e-4, rtol=1e-4)


def test_pretraining_is_reproducible_and_depends_on_the_seed(untrained, tmp_path):
    digests = []
    for name, seed in (("again", 5), ("other", 6)):
        recipe = Recipe(seed=seed, steps=3, documents=16)
        write_checkpoint(tmp_path / name, *pretrain(recipe, Mix(), report_every=0), recipe, Mix())
        digests.append(digest_of(tmp_path / name / "model.safetensors"))
    assert digests[0] == digest_of(untrained / "model.safetensors") != digests[1]


def test_the_shipped_base_is_accepted():
    """Thinking pays at temperature 1, and pass@1 leaves room to learn (fewer samples than the program takes)."""
    assert accept(CHECKPOINT, questions=100, samples=8)["problems"] == []


def test_a_base_that_cannot_think_is_not_accepted(untrained):
    assert any("thinking pays" in line for line in accept(untrained, questions=10, samples=2)["problems"])


def test_the_value_of_a_forced_continuation():
    assert value_reached("direct", "23</answer>") == "23"
    assert value_reached("en", ", Bob 5 makes 13, wait, 12, Cat 8 makes 20</think><answer>21</answer>") == "20"
    assert value_reached("zh", ", Bob 五得一二, Cat 八得二零. Check: Ann 七, Bob 五得一三") == "20"
    assert value_reached("en", "</think>") == ""
