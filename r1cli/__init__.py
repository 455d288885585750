"""r1: the DeepSeek-R1 pipeline as Unix tools."""

__version__ = "0.1.0"
