"""The door to jobs: the protocol, and processes on this machine."""
