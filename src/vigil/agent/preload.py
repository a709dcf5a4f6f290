"""What every worker needs, imported once in the server that workers are forked from."""

import gc

import vigil.agent.agent
import vigil.agent.worker

__all__ = ["vigil"]

# What is here now stays, and stays shared: the collector of a worker must not touch, and so copy, its pages.
gc.freeze()
