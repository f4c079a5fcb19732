"""What happened in a search, for somebody who was handed its log."""
