"""The backends of jobs: their protocol, processes on this machine, tasks on a ClearML server."""
