"""Learning curves: from metrics and results to numbers on axes, and from there to text or a picture."""
