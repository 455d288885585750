"""Settings that the ranks of the DeepSpeed tests and the tests themselves both use."""

from r1cli.algorithms.settings import GrpoSettings

# Where optimizer state and weights lie: ZeRO stage, offload.
PLACES = ((1, "none"), (1, "optimizer"), (2, "none"), (2, "optimizer"), (3, "none"), (3, "optimizer"), (3, "all"))
# Micro-batches so small that every rank has several, of unequal size.
OFF_POLICY = GrpoSettings(clip_low=0.2, clip_high=0.2, kl=0.1, entropy=0.01, micro_tokens=40)
# Steps so large that fp32 weights resolve them, and an epsilon that keeps Adam from turning the noise of gradients near
# zero into whole steps.
ADAM = {"lr": 1e-2, "adam_eps": 1e-2, "weight_decay": 0.1}
CUT = GrpoSettings(kl=0.0, micro_tokens=40, **ADAM)
TRAINING = GrpoSettings(kl=0.1, entropy=0.01, micro_tokens=40, minibatches=2, epochs=2, grad_clip=0.5, **ADAM)
