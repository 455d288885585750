"""What the output head costs in memory with a large vocabulary: peak RSS, each side in a process of its own.

    OMP_NUM_THREADS=1 python tests/bench/head.py [--tokens 8192 --vocabulary 151936]

Forward and backward of log-probs and entropies of random hidden states [tokens, --hidden], at r1 (the function that
updates use), at TRL (`add_fused_lm_head`, on a model without layers) and by full logits, as a plain Hugging Face model
makes them (on --full-tokens of the tokens, and scaled up from there). `adds_mb` is what is above the hidden states,
their gradient, the weight and its gradient, which is already there, as from an earlier micro-batch.
"""

import argparse
import json
import sys
import time

from sides import Side, Spec, Turns, load_average, memory, say

SIDES = ("ours", "trl", "full")


def play(name: str, spec: Spec) -> None:
    """One side: a forward and a backward pass at each turn."""
    turns = Turns()
    import torch

    if name == "ours":
        from r1cli.backend.logprobs import LIMITS, HeadLogProbs
    elif name == "trl":
        from transformers import Qwen2Config, Qwen2ForCausalLM
        from trl.trainer.utils import add_fused_lm_head

    torch.manual_seed(0)
    turns.imported()
    size, vocabulary = spec["hidden"], spec["vocabulary"]
    tokens = spec["full_tokens"] if name == "full" else spec["tokens"]
    hidden = (torch.randn(tokens, size) / 8).requires_grad_()
    targets = torch.randint(0, vocabulary, (tokens,))
    weight = torch.nn.Parameter(torch.randn(vocabulary, size) / size**0.5)
    weight.grad, hidden.grad = torch.zeros_like(weight), torch.zeros_like(hidden)
    if name == "trl":
        shape = {"hidden_size": size, "num_attention_heads": 1, "num_key_value_heads": 1, "intermediate_size": 8}
        model = Qwen2ForCausalLM(Qwen2Config(vocab_size=8, num_hidden_layers=0, tie_word_embeddings=False, **shape))
        model.lm_head.weight = weight
        model.model.norm = torch.nn.Identity()
        add_fused_lm_head(model, outputs=("log_probs", "entropy"))
        labels = torch.cat((torch.zeros(1, dtype=torch.long), targets))[None]
        # The head leaves out the last position, whose label it does not have.
        padded = torch.cat((hidden, hidden.detach()[:1]))[None].detach().requires_grad_()

    def passes() -> None:
        if name == "ours":
            ones = torch.ones(tokens)
            logp, entropy = HeadLogProbs.apply(hidden, weight, targets, ones, LIMITS, True)
        elif name == "trl":
            out = model(inputs_embeds=padded, labels=labels, fused_lm_head=True)
            logp, entropy = out.log_probs, out.entropy
        else:
            logs = torch.nn.functional.linear(hidden, weight).log_softmax(-1)
            logp, entropy = logs.gather(1, targets[:, None]), -(logs.exp() * logs).sum(-1)
        found.append((float(logp.detach().mean()), float(entropy.detach().mean())))
        logp.mean().backward()

    found: list[tuple[float, float]] = []
    state = memory("VmRSS") - turns.before

    def work() -> Spec:
        passes()
        return {"state_mb": state, "logp": found[-1][0], "entropy": found[-1][1]}

    turns.play(work)


def main() -> None:
    """Runs the sides one after another and prints one JSON object."""
    if sys.argv[1:2] == ["--side"]:
        return play(sys.argv[2], json.loads(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=151936)
    parser.add_argument("--hidden", type=int, default=896, help="width; 896 is Qwen2.5-0.5B's")
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--full-tokens", type=int, default=1024, help="tokens of the full logits")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    result: Spec = {"settings": vars(args)}
    for name in args.sides:
        began = time.perf_counter()
        side = Side(__file__, name, vars(args))
        found = side.round()
        side.close()
        adds = found["peak_mb"] - found["state_mb"]
        result[name] = {key: round(value, 3) for key, value in found.items()} | {"adds_mb": round(adds)}
        if name == "full":
            result[name]["adds_mb_at_all_tokens"] = round(adds * args.tokens / args.full_tokens)
        say(f"{name}: adds {adds:.0f} MB, {found['cpu_s']:.1f} s of CPU, {time.perf_counter() - began:.0f} s in all")
    print(json.dumps({**result, "load": load_average()}, indent=1))


if __name__ == "__main__":
    main()
