"""Reflection in miniature: does pure reinforcement learning make a searcher try, check and return more often?

Run by examples/reflection.sh, which says what is done in which order.
"""
