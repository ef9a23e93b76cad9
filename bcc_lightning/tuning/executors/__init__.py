"""Where the workers of a search run: in this process, on this machine, on a SLURM cluster, on a Ray cluster.

What a worker does belongs to `tuning.worker`; an executor only starts, watches and ends workers.
"""
