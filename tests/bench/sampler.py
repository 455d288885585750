"""Times our sampler against Hugging Face's generate on a random model of 3 million parameters; a JSON object on stdout.

Both sides sample the same groups at temperature 1 in this process, in turn, at one thread unless told otherwise; what
counts is process CPU time, which other work on the machine disturbs less than wall time. `fixed` forbids the end token;
`ragged` makes every token an end with a chance of about 1 in 64. Ours also returns log-probabilities.
"""

import argparse
import json
import statistics
import time

import torch
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

from r1cli.backend.model import ModelConfig, Transformer
from r1cli.backend.sampler_torch import Group, SamplingParams, TorchSampler

VOCABULARY = 320


class EndTokens:
    """What the sampler wants of a tokenizer when no stop strings are used."""

    def __init__(self, *ids: int):
        self.end_tokens = ids


def build() -> tuple[Qwen2ForCausalLM, Transformer]:
    """The same random weights as a Hugging Face model and as ours."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
        architectures=["Qwen2ForCausalLM"],
    )
    theirs = Qwen2ForCausalLM(config).eval()
    ours = Transformer(ModelConfig.from_dict(config.to_dict()))
    ours.load_state_dict({name: value for name, value in theirs.state_dict().items() if name != "lm_head.weight"})
    return theirs, ours


def run_ours(
    model: Transformer, prompts: list[list[int]], ends: list[int], arguments: argparse.Namespace, seed: int
) -> int:
    """One batch by our sampler; returns the number of tokens it made."""
    sampler = TorchSampler(model, EndTokens(*ends), slots=arguments.slots)
    params = SamplingParams(max_tokens=arguments.tokens)
    for number, prompt in enumerate(prompts):
        seeds = [(seed * 1000 + number) * 1000 + place for place in range(arguments.group)]
        sampler.add(Group(number, prompt, seeds, params))
    made = 0
    while sampler.busy:
        made += sum(len(sample.ids) for _, samples in sampler.step() for sample in samples)
    return made


def run_theirs(
    model: Qwen2ForCausalLM, prompts: list[list[int]], ends: list[int], arguments: argparse.Namespace, seed: int
) -> int:
    """One batch by generate; returns the number of tokens up to each sample's end."""
    torch.manual_seed(seed)
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    settings = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=arguments.tokens,
        pad_token_id=0,
        num_return_sequences=arguments.group,
        eos_token_id=ends or None,
    )
    out = model.generate(ids, attention_mask=mask, generation_config=settings)[:, longest:]
    # The pad token is never an end here, and what follows the first end is not a sample's own.
    ended = torch.isin(out, torch.tensor(ends, dtype=torch.int64)).cumsum(1)
    return int(((ended == 0).sum(1) + (ended[:, -1] > 0)).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128, help="most tokens of a completion")
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    theirs, ours = build()
    lengths = [33 + number % 6 for number in range(arguments.questions)]
    prompts = [[3 + (37 * number + 11 * place) % 300 for place in range(size)] for number, size in enumerate(lengths)]
    report: dict[str, object] = {**vars(arguments), "parameters": sum(p.numel() for p in ours.parameters())}
    for case, ends in (("fixed", []), ("ragged", [50, 100, 150, 200, 250])):
        speeds: dict[str, list[float]] = {"ours": [], "hugging_face": []}
        for repeat in range(arguments.repeats + 1):
            for name, run, model in (("ours", run_ours, ours), ("hugging_face", run_theirs, theirs)):
                begin = time.process_time()
                made = run(model, prompts, ends, arguments, repeat)
                if repeat:  # the first round warms up
                    speeds[name].append(made / (time.process_time() - begin))
        medians = {name: round(statistics.median(values)) for name, values in speeds.items()}
        report[case] = {
            "tokens_per_cpu_second": medians,
            "ratio": round(medians["ours"] / medians["hugging_face"], 2),
            "all": {name: [round(value) for value in values] for name, values in speeds.items()},
        }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
