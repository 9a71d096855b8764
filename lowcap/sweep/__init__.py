"""Sweeps: an experiment of this package, or a whole chapter, over a grid of parameters, in shards that can be resumed.

`grid` reads what is asked for, `shards` cuts it up, `experiments` says what is computed, `work` computes it, `pools`
says where, `store` keeps it, `engine` drives.
A shard here is one task, one split and one recipe with a block of networks (`lowcap.shard` is another thing: some
members of a population while they train).
"""
