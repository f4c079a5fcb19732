"""Tests of reading search files."""
