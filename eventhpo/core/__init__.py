"""The pure core: events, what they add up to, and what follows. No door, no clock, no chance."""
