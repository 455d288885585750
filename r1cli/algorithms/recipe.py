"""DeepSeek-R1's recipe for distillation: settings of a fine-tuning that follow from the student's size.

It imports no torch, as all settings do.
"""

import math
from typing import Any

# DeepSeek-R1, supplement B.4.3, Table 6: initial learning rates by the student's size in billions of parameters.
QWEN_RATES = {1.5: 1e-4, 7.0: 8e-5, 14.0: 7e-5, 32.0: 6e-5}
LLAMA_RATES = {8.0: 5e-5, 70.0: 2e-5}
BATCH = 64


def table_size(parameters: int, *, llama: bool) -> float:
    """The size in the table, in billions, that is nearest to a student's by ratio, among those of its family."""
    sizes = LLAMA_RATES if llama else QWEN_RATES
    return min(sizes, key=lambda size: abs(math.log(size * 1e9 / parameters)))


def distillation(parameters: int, *, llama: bool) -> dict[str, Any]:
    """The settings of SftSettings in which the recipe differs from the defaults there."""
    return {"lr": (LLAMA_RATES if llama else QWEN_RATES)[table_size(parameters, llama=llama)], "batch": BATCH}
