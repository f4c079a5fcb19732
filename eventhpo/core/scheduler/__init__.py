"""What comes next: a function of the state."""
