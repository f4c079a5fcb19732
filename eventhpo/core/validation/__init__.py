"""What is wrong with a value that a person gave, and where."""
