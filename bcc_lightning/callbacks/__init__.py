"""Lightning callbacks: what happens at epochs and batches of a training, such as checkpoints, averages of weights and stages.

What happens once in a run, such as drawing figures after the test, belongs to `engine`.
"""
