"""Losses that hold a student against a teacher's distribution, token by token.

It does no forward pass; whose samples the tokens are, and how their losses are averaged, is the caller's business.
"""

import torch
from torch import Tensor


def reverse_kl(logp: Tensor, teacher: Tensor) -> Tensor:
    """KL(student || teacher) at tokens that the student sampled: logp [M] with gradient, teacher [M] -> [M].

    The value is log p - log q, which on average over samples is the KL. Its gradient is (log p - log q) grad log p: a
    policy gradient with the advantage log q - log p for each token by itself, whose average is the KL's gradient at
    that position; what a token does to later positions is left out. Lu, On-Policy Distillation, Thinking Machines Lab,
    2025 (discount 0); the sampled form of GKD with lambda 1 and reverse KL, Agarwal et al., 2024.
    """
    gap = (logp - teacher).detach()
    return gap + gap * (logp - logp.detach())


def top_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) over the teacher's likeliest tokens and one bucket for all others, per position.

    student [M, K] with gradient and teacher [M, K] are log-probs of the same K tokens; -> [M], never negative but for
    rounding. The bucket holds what the K tokens leave of each: sum_k p_k (log p_k - log q_k) + p_o (log p_o - log q_o).
    That is never above the KL over the whole vocabulary (log-sum inequality), and equal to it when K is its size, where
    the bucket is empty.
    """
    chances = teacher.exp()
    inside = (chances * (teacher - student)).sum(-1)
    rest, left = 1 - chances.sum(-1), 1 - student.exp().sum(-1)
    # Rounding may leave either bucket empty, or less: the logs, and with them the gradient, stay finite.
    tiny = torch.finfo(teacher.dtype).eps * teacher.shape[-1]
    return inside + rest * (rest.clamp(min=tiny).log() - left.clamp(min=tiny).log())
