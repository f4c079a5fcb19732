"""Commands that run a search or ask something of one."""
