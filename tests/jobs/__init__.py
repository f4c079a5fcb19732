"""Jobs as processes: real runners, real jobs."""
