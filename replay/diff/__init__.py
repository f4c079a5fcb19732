"""Where two searches part, and what each had seen before."""
