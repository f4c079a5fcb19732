"""Why a trial was suggested, launched, continued, pruned, retried or failed."""

from replay.explain.collect import explain

__all__ = ["explain"]
